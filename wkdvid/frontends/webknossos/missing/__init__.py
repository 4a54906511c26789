"""What datastores of other kinds have, and this one has not: each route says so, in the words of the protocol."""
