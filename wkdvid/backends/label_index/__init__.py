"""The label index of a volume that never changes: made by a job, kept in files that are mapped into memory."""
