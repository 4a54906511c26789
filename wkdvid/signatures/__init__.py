"""Places of an image that look alike: 64-bit signatures of its patches, their index, and search in it."""
