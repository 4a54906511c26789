"""Cubes of images as models of image-to-image transfer show them, stored as volumes of their own for some time."""
