"""Typed annotations in the forms of other programs: values to bytes, and bytes to values."""
