"""Exports: files that a tenant takes away, of its rows or of reports on them; made once, kept for a while."""
