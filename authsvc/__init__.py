"""Opaque-token auth service: turns a `tok_` string into who is this, right now."""

__version__ = "0.1.0"
