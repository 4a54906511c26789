"""``POST /api/inspect``: what is at an address, and what would be served."""
