"""Networks: one file, one model; `make(spec, head, ordering, *, ...)`."""
