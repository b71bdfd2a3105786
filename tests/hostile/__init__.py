"""Peers that do not play by the rules."""
