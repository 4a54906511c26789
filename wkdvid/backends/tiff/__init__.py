"""Tiled TIFF: pyramids of libvips, OME-TIFF, stacks."""
