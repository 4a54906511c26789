"""JSON annotations of neurons and other bodies: records of free fields, with who changed what when (clio.md C.3)."""
