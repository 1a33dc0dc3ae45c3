"""Commands of `ar_jax`: flags and printing only."""
