"""An import as it happens: server-sent events, told by NOTIFY, that end with it and with the process."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from app.api import import_events, live
from app.main import create_app
from app.serving import Server
from app.settings import Settings
from tests.support.customers import Customer
from tests.support.imports import run_imports
from tests.support.problems import assert_problem
from tests.support.runtime import Worker
from tests.support.servers import wait_for
from tests.support.web import HOST, Web
from workers import handlers  # noqa: F401 - they are registered by being imported

CSV = b"email,name\na@example.com,Ada\nb@example.com,Bob\nnobody,\n"


@pytest.fixture(autouse=True)
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes, comes by NOTIFY."""
    monkeypatch.setattr(live, "POLL_SECONDS", 3600.0)


class Stream:
    """The events of one stream, as they come: (name, data), and comments under the name ''."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def next(self) -> tuple[str, Any]:
        name, data = "", None
        for line in self._lines:
            if line.startswith(":"):
                name = ""
            elif line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
            elif not line and (name, data) != ("", None):
                return name, data
            elif not line and name == "":
                return "", None
        raise EOFError

    def rest(self) -> list[tuple[str, Any]]:
        found = []
        while True:
            try:
                found.append(self.next())
            except EOFError:
                return found


@contextmanager
def watching(api: httpx.Client, import_id: str, **headers: str) -> Iterator[Stream]:
    path = f"/v1/imports/{import_id}/events"
    with api.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        stream = Stream(answer.iter_lines())
        assert stream.next() == ("", None)  # how long to wait before asking again
        yield stream


def posted(api: httpx.Client) -> str:
    answer = api.post("/v1/imports", content=CSV, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 202, answer.text
    import_id: str = answer.json()["id"]
    return import_id


def change(engine: Engine, import_id: str, **values: object) -> None:
    """As a worker's commit does."""
    names = ", ".join(f"{name} = :{name}" for name in values)
    with engine.begin() as tx:
        tx.execute(
            text(f"UPDATE imports SET {names} WHERE id = :id"),  # noqa: S608 - the test's own names
            {**values, "id": import_id},
        )
        tx.execute(text("SELECT pg_notify('import_progress', :id)"), {"id": import_id})


def listening(engine: Engine) -> bool:
    with engine.connect() as tx:
        query = text("""
            SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
              AND application_name = 'millrace-web-live' AND query ~ 'LISTEN'
        """)
        return bool(tx.execute(query).scalar_one())


def test_the_import_as_it_is_then_each_change_then_the_end(
    api: httpx.Client, web: Web, engine: Engine
) -> None:
    import_id = posted(api)
    with watching(api, import_id) as stream:
        name, first = stream.next()
        assert (name, first) == ("import", api.get(f"/v1/imports/{import_id}").json())
        wait_for(lambda: listening(engine))
        change(engine, import_id, status="running", rows_done=1)
        name, second = stream.next()
        assert (name, second["status"], second["progress"]["rows_done"]) == ("import", "running", 1)
        change(engine, import_id, status="succeeded", rows_done=3)
        name, last = stream.next()
        assert (name, last["status"], last["progress"]["rows_done"]) == ("import", "succeeded", 3)
        assert stream.rest() == [("end", {})]
    wait_for(lambda: not web.busy, what="the end of the request")


def test_a_real_run_is_seen_to_its_end(api: httpx.Client, engine: Engine, worker: Worker) -> None:
    import_id = posted(api)
    with watching(api, import_id) as stream:
        assert stream.next()[1]["status"] == "queued"
        wait_for(lambda: listening(engine))
        run_imports(worker, engine)
        events = stream.rest()
    assert events[-1] == ("end", {})
    last = events[-2][1]
    assert last == api.get(f"/v1/imports/{import_id}").json()
    assert (last["status"], last["counts"]["inserted"], last["counts"]["rejected"]) == (
        "succeeded",
        2,
        1,
    )


def test_what_has_ended_is_told_at_once(api: httpx.Client, engine: Engine) -> None:
    import_id = posted(api)
    change(engine, import_id, status="cancelled")
    with watching(api, import_id, **{"Last-Event-ID": "7"}) as stream:
        assert [name for name, _ in stream.rest()] == ["import", "end"]


def test_an_undo_is_watched_to_its_end(api: httpx.Client, engine: Engine) -> None:
    import_id = posted(api)
    change(engine, import_id, status="succeeded", undo_status="running")
    with watching(api, import_id) as stream:
        assert stream.next()[1]["undo"]["status"] == "running"
        wait_for(lambda: listening(engine))
        change(engine, import_id, undo_status="succeeded", undo_removed=2, undo_kept=1)
        *_, last, end = stream.rest()
    assert end == ("end", {})
    assert {name: last[1]["undo"][name] for name in ("status", "removed", "kept")} == {
        "status": "succeeded",
        "removed": 2,
        "kept": 1,
    }


def test_silence_is_filled(
    api: httpx.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_events, "KEEP_ALIVE_SECONDS", 0.1)
    import_id = posted(api)
    with watching(api, import_id) as stream:
        assert stream.next()[0] == "import"
        assert stream.next() == ("", None)
        change(engine, import_id, status="failed")
        assert [name for name, _ in stream.rest() if name] == ["import", "end"]


def test_many_changes_are_few_events(api: httpx.Client, engine: Engine) -> None:
    import_id = posted(api)
    with watching(api, import_id) as stream:
        stream.next()
        wait_for(lambda: listening(engine))
        began = time.monotonic()
        for number in range(60):
            change(engine, import_id, status="running", rows_done=number)
        change(engine, import_id, status="succeeded", rows_done=60)
        seen = [data["progress"]["rows_done"] for name, data in stream.rest() if name == "import"]
        seconds = time.monotonic() - began
    assert seen == sorted(set(seen))
    assert seen[-1] == 60
    assert len(seen) <= seconds * 5 + 3


def test_a_client_that_leaves_costs_nothing_more(
    api: httpx.Client, web: Web, engine: Engine
) -> None:
    import_id = posted(api)
    with watching(api, import_id) as stream:
        stream.next()
        wait_for(lambda: listening(engine))
    wait_for(lambda: not web.busy, what="the end of the request")
    wait_for(lambda: not listening(engine), what="the end of the connection")


def test_a_client_that_does_not_read_holds_nobody_up(
    api: httpx.Client, web: Web, tenant: Customer, engine: Engine
) -> None:
    import_id = posted(api)
    with web.connect() as deaf:
        head = f"GET /v1/imports/{import_id}/events HTTP/1.1\r\nHost: test\r\n"
        deaf.sendall(f"{head}Authorization: Bearer {tenant.key}\r\n\r\n".encode())
        with watching(api, import_id) as stream:
            stream.next()
            wait_for(lambda: listening(engine))
            for number in range(5):
                change(engine, import_id, rows_done=number + 1)
                assert stream.next()[1]["progress"]["rows_done"] == number + 1
            assert api.get("/healthz").status_code == 200


def test_it_is_the_tenants_own(web: Web, api: httpx.Client, stranger: Customer) -> None:
    path = f"/v1/imports/{posted(api)}/events"
    with web.client(stranger.key) as theirs:
        assert_problem(theirs.get(path), 404, "not_found")
    with web.client(None) as nobody:
        assert_problem(nobody.get(path), 401, "unauthenticated")


@pytest.mark.usefixtures("storage")
def test_a_process_that_is_told_to_stop_lets_its_watchers_go_at_once(
    settings: Settings, engine: Engine, tenant: Customer
) -> None:
    """In this process, so that nothing else is open: the grace for requests is not used up."""
    with closing(socket.socket()) as free:
        free.bind((HOST, 0))
        port = int(free.getsockname()[1])
    server = Server(create_app(settings), host=HOST, port=port, drain_seconds=1, grace_seconds=60)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started, what="the web server")
    headers = {"Authorization": f"Bearer {tenant.key}"}
    url = f"http://{HOST}:{port}"
    with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        import_id = posted(client)
        with watching(client, import_id) as stream:
            stream.next()
            server.should_exit = True
            wait_for(lambda: server._app.state.draining)
            began = time.monotonic()
            assert stream.rest() == []  # and no "end": it goes on elsewhere
            assert time.monotonic() - began < 10
    thread.join(20)
    assert not thread.is_alive()
