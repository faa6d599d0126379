"""Calls of other people's servers: how often, whether at all, and where to."""
