"""Celery's task events, which Flower shows, sent in batches.

A stock worker sends its events each time that its loop turns, three for each job, and with the publisher
confirms that we ask for its main process waits for the broker each time: for small jobs, more than half of
its time. Ours are sent once a second. They are a live view and not the record, so a second is soon enough.

Its heartbeat event is sent with endless retries, from the loop that takes the jobs: a line that broke at a bad
moment kept workers alive and idle for good. Ours reconnects once; what could not be sent is kept, within
bounds, for the next.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, cast

from celery import bootsteps
from celery.worker import state

FLUSH_SECONDS = 1.0
BATCH = 500
"""With so many at hand they are sent sooner; each batch is one message."""


MOST_KEPT = 1_000
"""Messages that wait for the broker; then the oldest are forgotten."""
_PATIENCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


def _within_bounds(send: Callable[..., Any]) -> Callable[..., Any]:
    def bounded(*arguments: Any, **named: Any) -> Any:
        return send(*arguments, **{**named, "retry_policy": _PATIENCE})

    return bounded


class BatchedEvents(bootsteps.StartStopStep):
    """Added to the consumer: changes its event dispatcher each time that it makes a new one."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, parent: Any, **_: Any) -> None:
        self._timer: Any = None
        super().__init__(parent)

    def start(self, parent: Any) -> None:
        """Called at the start and after each lost connection, once `Events` has connected."""
        dispatcher = parent.event_dispatcher
        if dispatcher is None or parent.hub is None:
            return
        dispatcher.buffer_limit = BATCH
        dispatcher.on_send_buffered = None
        dispatcher.send = _within_bounds(dispatcher.send)
        dispatcher._outbound_buffer = deque(dispatcher._outbound_buffer, MOST_KEPT)  # noqa: SLF001
        self._timer = parent.timer.call_repeatedly(FLUSH_SECONDS, dispatcher.flush)

    def stop(self, parent: Any) -> None:
        """The dispatcher is about to be closed: for good, or because its connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ending = cast(object, state.should_stop) is not None
        if ending and parent.event_dispatcher is not None:
            parent.event_dispatcher.flush()
