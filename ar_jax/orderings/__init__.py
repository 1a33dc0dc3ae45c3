"""Families of orders: `make(shape, *, ...) -> Ordering`."""
