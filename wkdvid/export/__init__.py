"""Volumes in formats that other programs read: documents and chunks as values, which front ends serve."""
