"""Autoregressive generative models in JAX: one contract, any order, exact."""

__version__ = "0.1.0"
