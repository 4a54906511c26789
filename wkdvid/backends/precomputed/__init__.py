"""Neuroglancer precomputed volumes. Facts: volume.md and sharded.md of the format's description in Neuroglancer."""
