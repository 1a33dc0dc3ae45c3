"""Output distributions: `make(spec, *, ...) -> Head`."""
