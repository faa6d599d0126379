"""An engine's connections: which are given up when one is gone, and that none stays behind at its end."""

import time

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from app.db import close, driver_connection, make_engine
from app.settings import Settings


def server_process(tx: Connection) -> int:
    number: int = tx.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return number


@pytest.mark.parametrize("hours", [0, 2, -2])
def test_when_one_is_gone_those_of_before_are_not_used_and_new_ones_are_kept(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Whatever this machine's clock said then."""
    ours = make_engine(settings, pool_size=2, application_name="millrace-tests")
    with monkeypatch.context() as patch:
        here = time.time
        patch.setattr(time, "time", lambda: here() + hours * 3600)
        with ours.connect() as one, ours.connect() as other:
            before = {server_process(one), server_process(other)}
            with engine.begin() as tx:
                tx.execute(text("SELECT pg_terminate_backend(:id)"), {"id": server_process(one)})
            with pytest.raises(OperationalError):
                one.execute(text("SELECT 1"))
    after = []
    for _ in range(3):
        with ours.connect() as one, ours.connect() as other:
            after.append({server_process(one), server_process(other)})
    ours.dispose()
    assert not before & after[0]
    assert after == after[:1] * 3


def test_what_is_out_when_an_engine_is_closed_is_closed_when_it_comes_back(engine: Engine) -> None:
    """A thread may be slower than its process's end."""
    with engine.connect() as slow:
        close(engine)
        late = driver_connection(slow)
        assert slow.execute(text("SELECT 1")).scalar_one() == 1
    assert late.closed


def test_who_still_uses_it_leaves_nothing_open(engine: Engine) -> None:
    close(engine)
    with engine.connect() as later:
        assert later.execute(text("SELECT 1")).scalar_one() == 1
        new = driver_connection(later)
    assert new.closed
