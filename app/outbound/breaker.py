"""A circuit breaker whose state all processes share: a server that is down is left alone, by all of them.

    closed --threshold failures in a row within the window--> open
    open --cool-down over--> half_open        (one request goes through: the probe)
    half_open --the probe succeeds--> closed
    half_open --the probe fails--> open       (the cool-down doubles, up to its cap)

A probe whose process dies is given up after `probe_seconds`, and the next request becomes the probe. What
requests of an earlier era come to changes nothing: a slow success from before it opened doesn't close it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, Row, TextClause, text

from app.db import autocommit
from app.ids import new_id

log = structlog.get_logger()

MAX_REASON_CHARS = 500
MAX_FAILURES = 100
"""So many in a row are counted."""

_ASK = text("""
    SELECT state, era, cardinality(failures) AS failures, coalesce(
               extract(epoch FROM CASE state WHEN 'open' THEN retry_at ELSE probe_until END
                                  - clock_timestamp()), 0)::float AS wait
    FROM circuit_breakers WHERE tenant_id = :tenant_id AND scope = :scope
""")
_CHANGE = """
    WITH changed AS (
        UPDATE circuit_breakers b SET {sets}
        WHERE b.tenant_id = :tenant_id AND b.scope = :scope AND {guard}
        RETURNING b.*, old.state AS was
    ), noted AS (
        INSERT INTO circuit_changes (id, tenant_id, scope, at, from_state, to_state, reason)
        SELECT :id, tenant_id, scope, clock_timestamp(), was, state, {reason} FROM changed
        WHERE state <> was
    )
    SELECT era, state, was, extract(epoch FROM retry_at - clock_timestamp())::float AS wait
    FROM changed
"""
# A half-open one whose probe's time is over begins another: a new era, so that the lost one can't speak.
_PROBE = text(
    _CHANGE.format(
        sets="""state = 'half_open', era = b.era + 1, retry_at = NULL, changed_at = clock_timestamp(),
                probe_until = clock_timestamp() + make_interval(secs => :probe_seconds)""",
        guard="""(b.state = 'open' AND b.retry_at <= clock_timestamp()
                  OR b.state = 'half_open' AND b.probe_until <= clock_timestamp())""",
        reason="CAST(NULL AS text)",
    )
)
_CLOSE = text(
    _CHANGE.format(
        sets="""state = 'closed', era = b.era + 1, failures = '{}', probe_until = NULL,
                changed_at = clock_timestamp()""",
        guard="b.state = 'half_open' AND b.era = :era",
        reason="CAST(NULL AS text)",
    )
)
_OPEN = """state = 'open', era = b.era + 1, failures = {failures}, probe_until = NULL, reason = :reason,
           trips = {trips}, changed_at = clock_timestamp(),
           retry_at = clock_timestamp() + make_interval(secs => greatest(:at_least, least(
               :cap, :cool_down * power(2.0, least({trips} - 1, 30)))))"""
_FAIL_PROBE = text(
    _CHANGE.format(
        sets=_OPEN.format(
            trips="(b.trips + 1)",
            failures=f"(clock_timestamp() || b.failures)[1 : {MAX_FAILURES}]",
        ),
        guard="b.state = 'half_open' AND b.era = :era",
        reason="reason",
    )
)
_TRIP = text(
    _CHANGE.format(
        # It opens again soon after it closed: it was not well in between.
        sets=_OPEN.format(
            trips="""(CASE WHEN b.changed_at < clock_timestamp() - make_interval(secs => :window)
                           THEN 1 ELSE b.trips + 1 END)""",
            failures="b.failures",
        ),
        guard="b.state = 'closed' AND b.era = :era AND cardinality(b.failures) >= :threshold",
        reason="reason",
    )
)
_COUNT = text("""
    INSERT INTO circuit_breakers AS b (tenant_id, scope, failures, reason)
    VALUES (:tenant_id, :scope, ARRAY[clock_timestamp()], :reason)
    ON CONFLICT (tenant_id, scope) DO UPDATE
    SET failures = ARRAY(SELECT f FROM unnest(b.failures) AS f
                         WHERE f > clock_timestamp() - make_interval(secs => :window)
                         ORDER BY f DESC LIMIT :threshold - 1) || clock_timestamp(),
        reason = excluded.reason
    WHERE b.state = 'closed' AND b.era = :era
    RETURNING cardinality(failures)
""")
_WELL = text("""
    UPDATE circuit_breakers SET failures = '{}'
    WHERE tenant_id = :tenant_id AND scope = :scope AND state = 'closed' AND era = :era
""")
_LET_GO = text("""
    UPDATE circuit_breakers SET probe_until = clock_timestamp()
    WHERE tenant_id = :tenant_id AND scope = :scope AND state = 'half_open' AND era = :era
""")
_STATE = text("""
    SELECT state, cardinality(failures) AS failures, trips, changed_at, retry_at, reason
    FROM circuit_breakers WHERE tenant_id = :tenant_id AND scope = :scope
""")
_CHANGES = text("""
    SELECT at, from_state, to_state, reason FROM circuit_changes
    WHERE tenant_id = :tenant_id AND scope = :scope ORDER BY id DESC LIMIT :limit
""")
_RESET = text(
    _CHANGE.format(
        sets="""state = 'closed', era = b.era + 1, failures = '{}', probe_until = NULL,
                retry_at = NULL, trips = 0, changed_at = clock_timestamp()""",
        guard="true",
        reason="CAST(:reason AS text)",
    )
)
_FORGET = text("""
    WITH changes AS (
        DELETE FROM circuit_changes WHERE tenant_id = :tenant_id AND scope = :scope)
    DELETE FROM circuit_breakers WHERE tenant_id = :tenant_id AND scope = :scope
""")


class CircuitOpen(Exception):
    """The server is being left alone; asking again makes sense after `retry_after` seconds."""

    def __init__(self, scope: str, retry_after: float) -> None:
        super().__init__(f"{scope}: left alone for another {retry_after:.1f} s after failures")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """It opens after `threshold` failures in a row, over all processes, within `window_seconds`; for
    `cool_down_seconds` at first, and twice as long each time that it opens again without having been
    closed for a whole window. A probe is given up after `probe_seconds`: more than its request may take.
    """

    threshold: int = 5
    window_seconds: float = 60.0
    cool_down_seconds: float = 5.0
    cool_down_cap_seconds: float = 300.0
    probe_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to send one request. Tell the breaker how it went: `succeeded`, `failed` or `let_go`."""

    era: int
    is_probe: bool
    after_failures: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitState:
    """A breaker as it stands. `failures` are those in a row, also those of probes, as far as they are counted;
    `reason` the newest one's.
    """

    state: str
    failures: int
    trips: int
    changed_at: datetime
    retry_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of state."""

    at: datetime
    from_state: str
    to_state: str
    reason: str | None


class Breaker:
    """The breaker of that scope. Each call is a short transaction of its own; while all is well, a request
    costs one SELECT.
    """

    def __init__(
        self, engine: Engine, tenant_id: UUID, scope: str, policy: BreakerPolicy | None = None
    ) -> None:
        self._engine = engine
        self._policy = policy or BreakerPolicy()
        self._scope = scope
        self._where = {"tenant_id": tenant_id, "scope": scope}

    @contextmanager
    def passing(self, *failures: type[Exception]) -> Iterator[Permit]:
        """Run the block as one request: `failures` count against the server, other exceptions neither for
        it nor against it. Raises CircuitOpen, and the block is not run.
        """
        permit = self.admit()
        try:
            yield permit
        except failures as failure:
            self.failed(permit, f"{type(failure).__name__}: {failure}")
            raise
        except BaseException:
            self.let_go(permit)
            raise
        self.succeeded(permit)

    def admit(self) -> Permit:
        """Leave for one request, which is the probe if it is time for one. Raises CircuitOpen."""
        with autocommit(self._engine) as tx:
            now = tx.execute(_ASK, self._where).one_or_none()
            if now is None or now.state == "closed":
                return Permit(
                    era=now.era if now else 0,
                    is_probe=False,
                    after_failures=bool(now and now.failures),
                )
            if now.wait > 0:
                is_probed = now.state == "half_open"
                raise CircuitOpen(self._scope, min(now.wait, 1.0) if is_probed else now.wait)
            mine = self._change(tx, _PROBE, probe_seconds=self._policy.probe_seconds)
        if mine is None:  # somebody else's is the probe
            raise CircuitOpen(self._scope, 1.0)
        return Permit(era=mine.era, is_probe=True, after_failures=False)

    def succeeded(self, permit: Permit) -> None:
        """The server answered: closes it after a probe, ends a row of failures otherwise."""
        if permit.is_probe:
            with autocommit(self._engine) as tx:
                self._change(tx, _CLOSE, era=permit.era)
        elif permit.after_failures:
            with autocommit(self._engine) as tx:
                tx.execute(_WELL, {**self._where, "era": permit.era})

    def failed(self, permit: Permit, reason: str, *, retry_after: float = 0.0) -> None:
        """The server is down, or as good as. If that opens it, then for `retry_after` seconds at least."""
        policy = self._policy
        facts = {
            "era": permit.era,
            "reason": reason[:MAX_REASON_CHARS].replace("\0", ""),
            "window": policy.window_seconds,
            "threshold": policy.threshold,
            "cool_down": policy.cool_down_seconds,
            "cap": policy.cool_down_cap_seconds,
            "at_least": retry_after,
        }
        with autocommit(self._engine) as tx:
            if permit.is_probe:
                self._change(tx, _FAIL_PROBE, **facts)
                return
            in_a_row = tx.execute(_COUNT, {**self._where, **facts}).scalar_one_or_none()
            if in_a_row is not None and in_a_row >= policy.threshold:
                self._change(tx, _TRIP, **facts)

    def let_go(self, permit: Permit) -> None:
        """Nothing was learned about the server: if this was the probe, the next request may be it."""
        if permit.is_probe:
            with autocommit(self._engine) as tx:
                tx.execute(_LET_GO, {**self._where, "era": permit.era})

    def reset(self, reason: str) -> None:
        """A person says that the server is well."""
        with autocommit(self._engine) as tx:
            self._change(tx, _RESET, reason=reason)

    def _change(self, tx: Connection, statement: TextClause, **facts: object) -> Row[Any] | None:
        parameters = {**self._where, "id": new_id(), **facts}
        row = tx.execute(statement, parameters).one_or_none()
        if row is not None and row.state != row.was:
            log.warning(
                "circuit.changed",
                scope=self._scope,
                tenant_id=str(self._where["tenant_id"]),
                from_state=row.was,
                to_state=row.state,
                retry_after=row.wait,
                reason=facts.get("reason"),
            )
        return row


def circuit_state(tx: Connection, tenant_id: UUID, scope: str) -> CircuitState | None:
    """The breaker; None while no request of that scope has ever failed."""
    row = tx.execute(_STATE, {"tenant_id": tenant_id, "scope": scope}).one_or_none()
    return None if row is None else CircuitState(**row._mapping)  # noqa: SLF001


def circuit_changes(
    tx: Connection, tenant_id: UUID, scope: str, *, limit: int = 50
) -> list[Change]:
    """Its newest changes of state, newest first."""
    rows = tx.execute(_CHANGES, {"tenant_id": tenant_id, "scope": scope, "limit": limit})
    return [Change(**row._mapping) for row in rows]  # noqa: SLF001


def forget_circuit(tx: Connection, tenant_id: UUID, scope: str) -> None:
    """The server of that scope is not asked any more."""
    tx.execute(_FORGET, {"tenant_id": tenant_id, "scope": scope})
