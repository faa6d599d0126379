"""Which versions of which contracts are in use: in jobs that may still run, and in schedules."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from app.ledger.contract import Catalog, JobContract

# Of the jobs that have ended only the dead ones can run again, and a batch of theirs ends once more.
_USED = text("""
    SELECT kind, version, sum(waiting) AS waiting, sum(dead) AS dead, sum(schedules) AS schedules
    FROM (
        SELECT j.kind, j.version, 1 AS waiting, 0 AS dead, 0 AS schedules
        FROM (SELECT job_id FROM outbox UNION SELECT job_id FROM in_flight
              UNION SELECT job_id FROM waiting) open
        JOIN jobs j ON j.id = open.job_id
        UNION ALL
        SELECT j.kind, j.version, 0, 1, 0
        FROM dead_letters d JOIN jobs j ON j.id = d.job_id
        WHERE d.state <> 'replayed' AND j.state = 'dead'
        UNION ALL
        SELECT callback ->> 'kind', (callback ->> 'version')::int,
               (b.state = 'running')::int, (b.state <> 'running')::int, 0
        FROM batches b, jsonb_array_elements(b.callbacks) callback
        WHERE b.state = 'running'
           OR EXISTS (SELECT FROM batch_shards s WHERE s.batch_id = b.id AND s.dead > 0)
        UNION ALL
        SELECT kind, version, 0, 0, 1 FROM schedules
    ) used
    GROUP BY kind, version
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of one version is in the database. `readable` says whether this release can run it."""

    kind: str
    version: int
    waiting: int
    dead: int
    schedules: int
    readable: bool


def usage(tx: Connection, catalog: Catalog) -> list[Use]:
    """Every version that is declared here or used in the database, by kind and version."""
    used = {(row.kind, row.version): row for row in tx.execute(_USED)}
    declared = {(kind, contract.spec.version) for kind, contract in catalog.items()}
    return [
        Use(
            kind=kind,
            version=version,
            waiting=int(row.waiting) if (row := used.get((kind, version))) else 0,
            dead=int(row.dead) if row else 0,
            schedules=int(row.schedules) if row else 0,
            readable=kind in catalog and _reads(catalog[kind], version),
        )
        for kind, version in sorted(declared | used.keys())
    ]


def _reads(contract: type[JobContract], version: int) -> bool:
    return version <= contract.spec.version and all(
        older in contract.upcasts for older in range(version, contract.spec.version)
    )
