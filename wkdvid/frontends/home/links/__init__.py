"""The page of a dataset's share links."""
