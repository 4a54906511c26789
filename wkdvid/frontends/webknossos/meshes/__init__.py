"""Meshes and properties of segments, stored or made of voxels."""
