"""Layers as other programs store them: precomputed volumes and OME-Zarr."""
