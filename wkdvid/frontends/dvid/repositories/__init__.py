"""Repositories and their nodes, which clients read, make and change (dvid.md A3, D)."""
