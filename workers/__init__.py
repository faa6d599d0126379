"""Millrace: the worker side. It imports `app`, never the other way round, and never FastAPI."""
