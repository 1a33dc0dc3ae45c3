"""Samplers: `make(model, head, *, ...)`."""
