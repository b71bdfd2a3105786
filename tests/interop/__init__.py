"""aiotls against other implementations of TLS, one file per peer, both directions."""
