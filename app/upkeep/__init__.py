"""Upkeep: the product's own housekeeping."""
