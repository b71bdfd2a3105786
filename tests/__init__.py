"""The tests: one file per module of aiotls, and folders for what crosses modules."""
