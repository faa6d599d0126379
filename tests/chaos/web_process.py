"""`python -m tests.chaos.web_process PORT`: the product's API, with the campaign's kinds in its catalog."""

import sys

from app.main import create_app
from app.serving import Server
from app.settings import get_settings
from tests.chaos.contracts import CATALOG

if __name__ == "__main__":
    settings = get_settings()
    Server(
        create_app(settings, catalog=CATALOG),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        drain_seconds=settings.web_drain_seconds,
        grace_seconds=10,
    ).run()
