"""The pages of users, their roles and their tokens, where the access mode is ``clio``."""
