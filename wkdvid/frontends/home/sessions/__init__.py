"""Signing in on a page with a token, and out again."""
