"""`millrace connections` and `millrace secrets`: an operator over all tenants."""

from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, LargeBinary, text

from app.models.tables import TABLES
from app.resealing import SEALED
from app.sealing import is_newest, seal, unseal
from app.settings import Settings
from app.sync import connections, runs
from app.sync.connections import NewConnection
from app.webhooks import endpoints
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.syncing import NETWORKS

OLD, NEW = "o" * 32, "n" * 32


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **NETWORKS, "MILLRACE_SEALING_KEYS": OLD}


def connect(engine: Engine, settings: Settings, tenant_id: UUID, name: str = "CRM") -> UUID:
    new = NewConnection(
        name=name,
        base_url="http://127.0.0.1:9",
        token=f"token of {name}",
        push=True,
        deletes="keep",
        per_second=10,
    )
    with engine.begin() as tx:
        return connections.create(tx, tenant_id, new, settings)


def test_connections_are_listed_paused_resumed_and_run(
    run: Run, engine: Engine, settings: Settings, tenant: Customer, stranger: Customer
) -> None:
    ours = connect(engine, settings, tenant.id, "CRM\x1b[31m")
    theirs = connect(engine, settings, stranger.id)
    listed = run("connections", "list", "--json")
    assert [each["id"] for each in listed.json] == [str(theirs), str(ours)]
    assert "token" not in listed.out.replace("tokens", "")
    assert [each["id"] for each in run("connections", "list", tenant.id, "--json").json] == [
        str(ours)
    ]
    assert run("connections", "pause", ours, "--reason", "They asked.").out == f"{ours} is paused\n"
    said = run("connections", "list").out
    assert "They asked." in said
    assert "\x1b" not in said
    refused = run("connections", "run", ours)
    assert (refused.status, refused.err.count("\n")) == (1, 1)
    assert "has paused this connection: They asked. Only operators" in refused.err
    assert run("connections", "resume", ours).out == f"{ours} is active\n"
    first = run("connections", "run", ours, "--json").json
    assert first["state"] == "queued"
    assert run("connections", "run", ours).out == f"run {first['id']} is queued\n", "the same run"
    with engine.connect() as tx:
        assert [str(each.id) for each in runs.page(tx, ours, before=None, limit=9)] == [first["id"]]
        assert connections.load(tx, stranger.id, theirs).state == "active"
    for command in ("pause", "resume", "run"):
        missing = run("connections", command, uuid4())
        assert (missing.status, "There is no connection" in missing.err) == (1, True)
    nobody = run("connections", "list", "nobody")
    assert (nobody.status, "There is no tenant 'nobody'" in nobody.err) == (1, True)
    assert run("connections", "pause", "no-id").status == 2


def test_a_key_is_changed_and_the_old_one_may_go(
    run: Run, engine: Engine, settings: Settings, tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ids = [connect(engine, settings, tenant.id, f"c{number}") for number in range(5)]
    both = settings.model_copy(update={"sealing_keys": (SecretStr(NEW), SecretStr(OLD))})
    only_new = settings.model_copy(update={"sealing_keys": (SecretStr(NEW),)})
    with engine.begin() as tx:
        hook, _ = endpoints.create(
            tx, tenant.id, settings, url="https://example.com", events=["*"], description=""
        )
        endpoints.rotate(tx, tenant.id, hook, settings, keep_seconds=60)
        fresh = connections.create(
            tx,
            tenant.id,
            NewConnection(
                name="new",
                base_url="http://127.0.0.1:9",
                token="t",
                push=True,
                deletes="keep",
                per_second=1,
            ),
            both,
        )
    monkeypatch.setenv("MILLRACE_SEALING_KEYS", f"{NEW},{OLD}")
    tried = run("secrets", "reseal", "--dry-run", "--json").json
    assert [(each["column"], each["resealed"], each["newest"]) for each in tried] == [
        ("token", 5, 1),
        ("secret", 1, 0),
        ("previous_secret", 1, 0),
    ]
    assert not is_newest(_token(engine, ids[0]), both, owner=ids[0]), "nothing was changed"
    done = run("secrets", "reseal", "--batch", "2")
    assert done.status == 0, done.err
    assert done.out.splitlines()[0] == "connections.token: 5 resealed, 1 were, 0 lost"
    assert done.err.splitlines()[0] == "connections.token: 2 looked at", "how far it is"
    for number, each in enumerate(ids):
        assert unseal(_token(engine, each), only_new, owner=each) == f"token of c{number}"
    assert unseal(_token(engine, fresh), only_new, owner=fresh) == "t"
    for column in ("secret", "previous_secret"):
        sealed = _value(engine, "webhook_endpoints", column, hook)
        assert unseal(sealed, only_new, owner=hook).startswith("whsec_")
    assert all(each["resealed"] == 0 for each in run("secrets", "reseal", "--json").json)


def test_what_no_key_opens_is_named_and_the_rest_is_done(
    run: Run, engine: Engine, settings: Settings, tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    lost, good = (connect(engine, settings, tenant.id, name) for name in ("lost", "good"))
    other = settings.model_copy(update={"sealing_keys": (SecretStr("x" * 32),)})
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE connections SET token = :token WHERE id = :id"),
            {"id": lost, "token": seal("t", other, owner=lost)},
        )
    monkeypatch.setenv("MILLRACE_SEALING_KEYS", f"{NEW},{OLD}")
    said = run("secrets", "reseal")
    assert said.status == 1
    assert f"such as those of {lost}." in said.err
    assert "1 resealed, 0 were, 1 lost" in said.out
    only_new = settings.model_copy(update={"sealing_keys": (SecretStr(NEW),)})
    assert unseal(_token(engine, good), only_new, owner=good) == "token of good"
    monkeypatch.setenv("MILLRACE_SEALING_KEYS", "")
    keyless = run("secrets", "reseal")
    assert (keyless.status, "must set MILLRACE_SEALING_KEYS" in keyless.err) == (1, True)


def test_a_secret_that_changes_meanwhile_stays(
    engine: Engine, settings: Settings, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app import resealing

    one = connect(engine, settings, tenant.id)
    both = settings.model_copy(update={"sealing_keys": (SecretStr(NEW), SecretStr(OLD))})

    def late(sealed: bytes, settings: Settings, *, owner: UUID) -> str:
        with engine.begin() as tx:
            connections.edit(tx, tenant.id, owner, {"token": "changed"}, both)
        return unseal(sealed, settings, owner=owner)

    monkeypatch.setattr(resealing, "unseal", late)
    list(resealing.reseal(engine, both))
    assert unseal(_token(engine, one), both, owner=one) == "changed"


def test_every_column_of_secrets_is_resealed() -> None:
    """A column of bytes is in the list, or known to hold none."""
    no_secrets = {"hash", "result", "superseded", "rejected_rows", "body"}
    found = {
        (table.name, column.name)
        for table in TABLES.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and column.name not in no_secrets
    }
    assert found == set(SEALED)


def _token(engine: Engine, connection_id: UUID) -> bytes:
    return _value(engine, "connections", "token", connection_id)


def _value(engine: Engine, table: str, column: str, row_id: UUID) -> bytes:
    with engine.connect() as tx:
        query = text(f"SELECT {column} FROM {table} WHERE id = :id")  # noqa: S608 - constants
        return bytes(tx.execute(query, {"id": row_id}).scalar_one())
