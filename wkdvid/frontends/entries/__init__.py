"""Entries of the catalog as they are written, for administrators."""
