"""What belongs to a job, and goes with it: the one list for whoever forgets jobs."""

OF_ENDED = ("job_history", "effects", "dead_letters", "job_waits")
"""Where a job that has ended may still have rows."""
OF_OPEN = ("deadlines", "waiting", "outbox", "in_flight")
"""Where one that hasn't may have others."""
NOT_ITS_OWN = frozenset(
    {
        # gone once done, or with the job's end
        *("cancellations", "key_lines"),
        # outlive their jobs, and go with a tenant
        *("locks", "mails", "exports", "files", "imports", "schedule_slots", "webhook_deliveries"),
    }
)
"""What names a job and is not a part of it."""

_WAITED_FOR = """of_waited_for AS (
        DELETE FROM job_waits USING doomed
        WHERE job_waits.on_id = doomed.id AND job_waits.job_id NOT IN (SELECT id FROM doomed)
    )"""


def forget_doomed(*, open_ones: bool) -> str:
    """For a WITH, after a `doomed` with the ids of jobs: takes them and all that is theirs. The letters' incidents
    are in `of_dead_letters`.
    """
    tables = (*OF_ENDED, *OF_OPEN) if open_ones else OF_ENDED
    return ",\n    ".join([*map(_of, tables), _WAITED_FOR, _JOBS])


def _of(table: str) -> str:
    returning = " RETURNING incident_id" if table == "dead_letters" else ""
    return f"""of_{table} AS (
        DELETE FROM {table} USING doomed WHERE {table}.job_id = doomed.id{returning}
    )"""  # noqa: S608 - the lists' own words


_JOBS = """of_jobs AS (
        DELETE FROM jobs USING doomed WHERE jobs.id = doomed.id
    )"""
