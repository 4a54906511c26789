"""The ways by which webKnossos's own pages, and those of webknossos-connect, add datasets."""
