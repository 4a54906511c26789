"""Talking with the main server of webKnossos: who may read, which ids datasets have there, which datasets there are."""
