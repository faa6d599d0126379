"""The end of an engine: no connection stays behind."""

from sqlalchemy import Engine, text

from app.db import close, driver_connection


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
