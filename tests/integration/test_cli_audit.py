"""What an operator does at the command line is in the audit log, with its reason; what fails is not."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from app.ids import SYSTEM_TENANT
from app.ledger.batches import Batch, enqueue_batch
from app.mailing import suppressions
from app.settings import Settings
from app.sync import connections
from app.sync.connections import NewConnection
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.jobs import Note
from tests.support.operators import audited
from tests.support.payments import event, record, subscription
from tests.support.syncing import NETWORKS

REASON = ("--reason", "They asked on the phone.")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **NETWORKS}


def one(engine: Engine) -> tuple[str, str, str]:
    """The only line: action, thing and why; by somebody at this machine."""
    ((action, thing, actor, reason),) = audited(engine)
    assert "@" in actor
    return action, thing, reason


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("timezone", ("timezone", "{}", "Europe/Lisbon")),
        ("import_limits", ("limits", "{}", "--max-rows", "5")),
        ("budget", ("budget", "{}", "2.50")),
        ("budget", ("budget", "{}", "--default")),
        ("retention", ("retention", "{}", "--keep", "imports=90")),
    ],
)
def test_what_a_tenant_may(
    run: Run, engine: Engine, tenant: Customer, action: str, words: tuple[str, ...]
) -> None:
    said = run("tenants", *(word.format(tenant.id) for word in words), *REASON)
    assert said.status == 0, said.err
    assert one(engine) == (f"tenant.{action}", str(tenant.id), REASON[1])


def test_a_tenant_is_made_once(run: Run, engine: Engine) -> None:
    for _ in range(2):
        words = ("acme", "--email", "ops@acme.com", "--if-missing", "--json")
        made = run("tenants", "create", *words, *REASON).json
    assert one(engine) == ("tenant.create", made["id"], REASON[1])


def test_how_long_everyones_things_are_kept(run: Run, engine: Engine) -> None:
    assert run("tenants", "retention", "--keep", "imports=90").status == 0
    assert one(engine) == ("tenant.retention", str(SYSTEM_TENANT), "At the command line.")


def test_looking_leaves_no_line(run: Run, engine: Engine, tenant: Customer) -> None:
    for words in (("budget", tenant.id), ("retention", tenant.id), ("list",)):
        assert run("tenants", *words).status == 0
    assert run("secrets", "reseal", "--dry-run").status == 0
    assert audited(engine) == []


def test_what_fails_leaves_no_line(run: Run, engine: Engine, tenant: Customer) -> None:
    for words in (
        ("batches", "cancel", uuid4()),
        ("mail", "unsuppress", tenant.id, uuid4()),
        ("connections", "run", uuid4()),
        ("payments", "replay", "--event", "nothing"),
        ("tenants", "timezone", tenant.id, "Europe/Lisbon", "--reason", " "),
    ):
        assert run(*words).status == 1
    assert audited(engine) == []


def test_a_batch(run: Run, engine: Engine, tenant: Customer) -> None:
    with engine.begin() as tx:
        batch_id = enqueue_batch(tx, tenant.id, Batch(jobs=[Note()]))
    assert run("batches", "cancel", batch_id, *REASON).status == 0
    assert one(engine) == ("batch.cancel", str(batch_id), REASON[1])


def test_a_connection(run: Run, engine: Engine, settings: Settings, tenant: Customer) -> None:
    with engine.begin() as tx:
        made = connections.create(tx, tenant.id, _crm(), settings)
    for command in ("pause", "resume", "run"):
        assert run("connections", command, made, *REASON).status == 0
    lines = [(action, thing, reason) for action, thing, _, reason in audited(engine)]
    assert lines == [
        (f"connection.{command}", str(made), REASON[1]) for command in ("pause", "resume", "run")
    ]


def test_an_address(run: Run, engine: Engine, tenant: Customer) -> None:
    with engine.begin() as tx:
        suppressions.suppress(tx, tenant.id, "gone@example.com", detail="550 5.1.1")
        gone = _only(suppressions.page(tx, tenant.id, limit=2))
    assert run("mail", "unsuppress", tenant.id, gone, *REASON).status == 0
    assert one(engine) == ("suppression.remove", str(gone), REASON[1])


def test_a_payment_event(run: Run, engine: Engine, tenant: Customer) -> None:
    record(
        engine, event("customer.subscription.created", subscription(tenant_id=tenant.id), id="a")
    )
    assert run("payments", "replay", "--event", "a", *REASON).status == 0
    assert one(engine) == ("payment_event.replay", "a", REASON[1])


def test_the_sealing_key(run: Run, engine: Engine) -> None:
    assert run("secrets", "reseal", *REASON).status == 0
    assert one(engine) == ("secrets.reseal", "all", REASON[1])


def test_a_schedule(run: Run, engine: Engine, tenant: Customer) -> None:
    words = ("mine", "--kind", "report.daily", "--cron", "0 7 * * *", "--tenant", tenant.id)
    made = run("schedules", "add", *words, "--json", *REASON).json
    assert one(engine) == ("schedule.add", made["id"], REASON[1])


def _crm() -> NewConnection:
    return NewConnection(
        name="CRM",
        base_url="http://127.0.0.1:9",
        token="a token",
        push=True,
        deletes="keep",
        per_second=10,
    )


def _only(found: list[suppressions.Suppression]) -> UUID:
    (each,) = found
    return each.id
