"""Alembic migrations. Run by `millrace migrate`, never by a process at its start."""
