"""Share links: who may administrate a dataset makes, lists and revokes them."""
