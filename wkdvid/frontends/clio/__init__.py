"""The clio-store API: users, roles, datasets, annotations and what belongs to them (clio.md)."""
