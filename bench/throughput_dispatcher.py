"""The product's dispatcher, which knows the benchmark's kinds of job."""

import signal

from app.dispatcher import Dispatcher
from app.jobs import CATALOG
from app.ledger.contract import catalog
from app.logs import configure_logging
from app.settings import get_settings
from bench.throughput_ours import KINDS

if __name__ == "__main__":
    configure_logging(get_settings())
    known = catalog([*CATALOG.values(), *KINDS])
    dispatcher = Dispatcher(get_settings(), catalog=known)
    signal.signal(signal.SIGTERM, dispatcher.stop)
    dispatcher.run()
