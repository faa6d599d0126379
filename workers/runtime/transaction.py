"""A job's transaction: the runtime commits it, together with the job's end, and nobody else does."""

from sqlalchemy import Connection

from workers.runtime.outcome import PermanentError


class JobTransaction(Connection):
    """What a handler wrote and committed itself would be done again by the job's next attempt, and where brief jobs share
    a commit also by its neighbours'.
    """

    def commit(self) -> None:
        """Refused. Savepoints are the handler's own: `begin_nested`."""
        raise PermanentError(
            "A handler commits nothing: the runtime does, together with the job's end. What others are to see sooner goes "
            "into ctx.aside(), and what a later attempt shall not do again into ctx.checkpoint(saved).",
            code="own_commit",
        )
