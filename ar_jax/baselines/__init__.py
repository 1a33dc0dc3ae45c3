"""Classical bars: `make(spec, *, ...) -> fit(train) -> score(split)`."""
