"""The DVID HTTP API, read side: every dataset is a repository of one committed node, every layer a data instance."""
