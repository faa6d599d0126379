"""Trials: tenants that are still trying, until they are over."""
