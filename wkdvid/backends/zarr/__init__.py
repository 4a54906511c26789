"""Zarr arrays (v2, v3) and OME-Zarr images (0.1 to 0.5). Facts: the zarr and NGFF specifications."""
