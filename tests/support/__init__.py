"""What the tests share: certificates (`pki`), connections wired in memory (`pairs`), peers as processes (`peers`)."""
