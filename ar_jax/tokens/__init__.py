"""Corpora larger than memory: learned tokens, written and read by blocks."""
