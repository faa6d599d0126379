"""`python -m tests.chaos.dispatcher_process`: the product's dispatcher, with the campaign's catalog."""

import signal

from app.dispatcher import Dispatcher
from app.logs import configure_logging
from app.settings import get_settings
from tests.chaos import breaks
from tests.chaos.contracts import CATALOG

if __name__ == "__main__":
    breaks.in_dispatcher()
    configure_logging(get_settings())
    dispatcher = Dispatcher(get_settings(), catalog=CATALOG)
    signal.signal(signal.SIGTERM, dispatcher.stop)
    signal.signal(signal.SIGINT, dispatcher.stop)
    dispatcher.run()
