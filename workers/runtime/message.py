"""What a message says of the jobs that it is for."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID


def jobs_of(message: Mapping[str, Any]) -> list[tuple[UUID, int]]:
    """The message's own job and its companions, each with the attempt that it was sent for.

    Raises TypeError or ValueError when there is no making sense of it.
    """
    own = (message.get("job_id"), message.get("attempt", 0))
    return [
        (UUID(str(job_id)), int(attempt))
        for job_id, attempt in (own, *message.get("companions", ()))
    ]
