"""Connectomics volumes, served where they are, in the protocol of every client."""

__version__ = "0.1.0"
