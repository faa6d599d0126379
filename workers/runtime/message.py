"""What a message says of the jobs that it is for."""

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID


class Given(Protocol):
    """A request of Celery's."""

    @property
    def kwargs(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def delivery_info(self) -> Mapping[str, Any]: ...  # noqa: D102


def jobs_of(message: Mapping[str, Any]) -> list[tuple[UUID, int]]:
    """The message's own job and its companions, each with the attempt that it was sent for.

    Raises TypeError or ValueError when there is no making sense of it.
    """
    own = (message.get("job_id"), message.get("attempt", 0))
    return [
        (UUID(str(job_id)), int(attempt))
        for job_id, attempt in (own, *message.get("companions", ()))
    ]


def jobs_in(request: Given) -> list[tuple[UUID, int]]:
    """Those of the request's message; none where it is a plain task's, or nobody's."""
    try:
        return jobs_of(request.kwargs)
    except (TypeError, ValueError, AttributeError):
        return []


def job_ids_of(*requests: Given) -> set[UUID]:
    """Of all their messages."""
    return {job_id for request in requests for job_id, _ in jobs_in(request)}
