"""What is at an address: the format found out, what would be served, and what is wrong with it in plain words."""
