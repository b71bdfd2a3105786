"""What carries TLS: every wire passes the same tests."""
