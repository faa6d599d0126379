"""The guide's statements take all that is known of a tenant, and nothing of the others."""

import re
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, Table, text

from app.models.tables import TABLES
from tests.support.customers import Customer, make_customer
from tests.support.filled import fill

PAGE = Path(__file__).resolve().parents[2] / "docs" / "delete-a-tenant.md"
KEPT = {"audit_log"}
OF_A_JOB = {"deadlines", "effects", "waiting"}


def statements() -> list[str]:
    """As the page has them, with a bound parameter in place of psql's variable."""
    (block,) = re.findall(r"```sql\nBEGIN;\n(.*?)COMMIT;\n```", PAGE.read_text(), re.DOTALL)
    return [each for line in block.splitlines() if (each := line.replace(":'tenant'", ":tenant"))]


def goes_with(table: Table, gone: set[str]) -> bool:
    return any(
        key.ondelete == "CASCADE" and key.column.table.name in gone for key in table.foreign_keys
    )


def rows(engine: Engine, tenant_id: UUID) -> dict[str, int]:
    """How many of each table are the tenant's."""
    counts = {
        table.name: f"SELECT count(*) FROM {table.name} WHERE tenant_id = :tenant"  # noqa: S608
        for table in TABLES.sorted_tables
        if "tenant_id" in table.c and table.name not in KEPT
    }
    with engine.connect() as tx:
        return {
            name: tx.execute(text(count), {"tenant": tenant_id}).scalar_one()
            for name, count in counts.items()
        }


def test_every_table_of_a_tenants_data_is_named_or_goes_with_one_that_is() -> None:
    gone = set(re.findall(r"^DELETE FROM (\w+)", "\n".join(statements()), re.MULTILINE))
    for table in TABLES.sorted_tables:  # what is referred to comes first
        if goes_with(table, gone):
            gone.add(table.name)
    of_tenants = {table.name for table in TABLES.sorted_tables if "tenant_id" in table.c}
    assert (of_tenants | OF_A_JOB | {"batch_shards"}) - KEPT - gone == set()


def test_nothing_of_it_is_left_and_all_of_the_others(engine: Engine, tenant: Customer) -> None:
    other = make_customer(engine)
    for each in (tenant, other):
        fill(engine, each)
    before = rows(engine, other.id)
    assert len([count for count in before.values() if count]) > 8
    with engine.begin() as tx:
        for statement in statements():
            tx.execute(text(statement), {"tenant": str(tenant.id)})
    assert {name: count for name, count in rows(engine, tenant.id).items() if count} == {}
    assert rows(engine, other.id) == before
    with engine.connect() as tx:
        ids = tx.execute(text("SELECT id FROM tenants")).scalars().all()
    assert tenant.id not in ids
    assert other.id in ids
