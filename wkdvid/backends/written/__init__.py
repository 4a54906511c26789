"""Voxels that clients write: stored below one place, a zarr 3 array for each data instance, node and scale."""
