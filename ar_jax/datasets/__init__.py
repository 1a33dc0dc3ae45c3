"""Sources of data: `make(*, ...) -> Dataset`."""
