"""`python -m infra.local up|demo|down`, which needs nothing of the product to be importable."""

from infra.local.cli import app

app()
