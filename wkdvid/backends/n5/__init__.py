"""N5 arrays and the dialects of N5 pyramids: n5-viewer, BigDataViewer, COSEM, Paintera. Facts: the N5 specification."""
