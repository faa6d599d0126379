"""What travels: job id, kind, contract version, attempt and trace context, as a Celery task message.

The wire format is Celery's message protocol 2
(https://docs.celeryq.dev/en/stable/internals/protocol.html), so that stock workers and Flower read it. Of what that
leaves open only what somebody looks at is there: each header costs the broker and the worker with every message.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from amqp.basic_message import Message

from app.broker.topology import EXCHANGE, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMessage:
    """One delivery of one job. `attempt` is the attempt that this delivery is meant to start.

    `companions` are jobs of the same kind and version that are to run after it, each with its attempt. The message is the first
    job's: if the broker gives it up, the others are rescued like any job whose message is lost.
    """

    job_id: UUID
    kind: str
    version: int
    attempt: int
    queue: str
    traceparent: str | None = None
    companions: Sequence[tuple[UUID, int]] = ()
    near: UUID | None = None

    @property
    def route(self) -> tuple[str, str]:
        """To its queue; or, with `near`, to the shard of the queue's pool that this tenant's jobs go to."""
        if self.near is None:
            return EXCHANGE, self.queue
        return Shard.exchange_of(self.queue), str(self.near)

    @property
    def message_id(self) -> UUID:
        """The job's."""
        return self.job_id

    def encode(self) -> Message:
        """The AMQP message, persistent."""
        job_id = str(self.job_id)
        headers: dict[str, object] = {
            "lang": "py",
            "task": self.kind,
            "id": job_id,
            "root_id": job_id,
            "parent_id": None,
            "group": None,
            "kwargsrepr": f"{{'attempt': {self.attempt}}}",
        }
        if self.traceparent is not None:
            headers["traceparent"] = self.traceparent
        arguments: dict[str, object] = {
            "job_id": job_id,
            "version": self.version,
            "attempt": self.attempt,
        }
        if self.companions:
            arguments["companions"] = [[str(one), attempt] for one, attempt in self.companions]
        return Message(
            json.dumps([[], arguments, {}], separators=(",", ":")),
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            correlation_id=job_id,
            message_id=job_id,
            application_headers=headers,
        )
