"""Training losses: `make(model, head, ordering, *, ...)`."""
