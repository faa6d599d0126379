"""What Celery's main process keeps of a message that a child works on."""

from celery.worker.request import Request as CeleryRequest

from workers.runtime import metering
from workers.runtime.given_back import GivenBack


class Request(CeleryRequest):
    """Celery's, which also counts the children that a hard time limit killed, and has somebody look after the
    jobs of a message that it gives back.
    """

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """In the main process."""
        if not soft:
            metering.timed_out(str(self.name), "hard")
        super().on_timeout(soft, timeout)

    def reject(self, requeue: bool = False) -> None:
        """As stock; with `requeue` the broker has the message again, if the line to it still stands."""
        super().reject(requeue=requeue)
        if requeue:
            GivenBack.expect(self)
