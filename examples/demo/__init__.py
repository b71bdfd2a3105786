"""The demo of aiotls; see ``__main__.py``."""
