"""Who sends a request: verifiers of tokens in their order, the users that they belong to, access in mode ``clio``."""
