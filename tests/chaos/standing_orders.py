"""Schedules: one slot a minute each, with some downtime behind them that is to be caught up."""

import json

from tests.chaos.poster import Client, Request
from tests.chaos.stage import Stage

DOWNTIME_MINUTES = 3
_ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns")
_BACK = """
    UPDATE schedules SET next_at = date_trunc('minute', clock_timestamp()) - %s * interval '1 minute'
    WHERE kind = 'chaos.tick'
"""


def place(stage: Stage, client: Client, *, seed: int, count: int) -> None:
    """Make `count` schedules through the API. Raises RuntimeError when one is refused."""
    for number in range(count):
        wish = {
            "name": f"tick-{number}",
            "kind": "chaos.tick",
            "payload": {"schedule": -1 - number},
            "cron": "* * * * *",
            "timezone": _ZONES[number % len(_ZONES)],
            "catch_up": "all",
        }
        headers = {
            "Idempotency-Key": f"chaos-{seed}-tick-{number}",
            "Content-Type": "application/json",
        }
        body = json.dumps(wish).encode()
        answer = client.send(
            Request(method="POST", path="/v1/schedules", body=body, headers=headers)
        )
        if answer.status != 201:
            raise RuntimeError(f"schedule {number}: {answer.status} {answer.body[:300]!r}")
    with stage.database() as tx:
        tx.execute(_BACK, [DOWNTIME_MINUTES])
