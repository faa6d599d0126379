"""The product's own handlers are registered by being imported."""

from workers import handlers

__all__ = ["handlers"]
