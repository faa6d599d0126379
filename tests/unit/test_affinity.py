"""Which shards a worker serves, and what a contract with affinity declares."""

import amqp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.broker.affinity import share_out
from app.broker.dead_letters import read
from app.ledger.affinity import affinity_of
from app.ledger.concurrency import Concurrency
from app.ledger.contract import AFFINE_AT_ONCE, JobSpec, catalog
from app.settings import Settings
from tests.support.worker_jobs import Tally, Warm

NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True)
SHARDS = st.integers(1, 64)
KNOWN = catalog((Warm, Tally))


def settings(shards: int) -> Settings:
    urls = {"MILLRACE_DATABASE_URL": "postgresql://", "MILLRACE_BROKER_URL": "amqp://"}
    return Settings.of({**urls, "MILLRACE_AFFINITY_SHARDS": str(shards)})


@given(SHARDS, NAMES)
def test_every_shard_has_one_worker_and_none_more_than_its_part(
    shards: int, names: list[str]
) -> None:
    served = share_out(shards, names)
    assert sorted(shard for each in served.values() for shard in each) == list(range(shards))
    assert max(map(len, served.values())) <= -(-shards // len(names))
    assert served == share_out(shards, names[::-1])


def test_a_worker_that_comes_or_goes_moves_few_shards() -> None:
    """Of a division by the worker's place among the others nearly all would move."""
    moved = kept = 0
    for number in range(2, 10):
        few, more = (
            share_out(64, [f"w{n}@host" for n in range(last)]) for last in (number, number + 1)
        )
        owner = {shard: name for name, shards in few.items() for shard in shards}
        for name, shards in more.items():
            for shard in shards:
                moved += owner[shard] != name
                kept += owner[shard] == name
    assert moved < kept / 2


def test_a_tenant_has_few_jobs_of_such_a_kind_under_way() -> None:
    own = Warm.spec.concurrency
    assert own is not None
    assert own.limit == AFFINE_AT_ONCE
    assert own.key_of("test.warm", Warm()) == own.key_of("test.warm", Warm(seconds=2)) is not None


@pytest.mark.parametrize(
    "more", [{"together": 2}, {"concurrency": Concurrency(key="account")}], ids=str
)
def test_what_would_have_no_effect_beside_affinity_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="affinity goes with neither"):
        JobSpec(kind="test.odd", affinity=True, **more)  # type: ignore[arg-type]


def test_what_a_shard_gave_up_is_told_of_as_its_pools() -> None:
    deaths = [{"queue": "default.near.3", "reason": "rejected", "count": 1}]
    message = amqp.Message("[]", application_headers={"task": "test.warm", "x-death": deaths})
    message.delivery_info = {"delivery_tag": 1}
    assert read(message).queue == "default"


def test_nothing_goes_to_a_shard_unless_setting_and_contract_say_so() -> None:
    assert affinity_of(settings(0), KNOWN).queues == []
    assert affinity_of(settings(4), catalog((Tally,))).queues == []
    on = affinity_of(settings(4), KNOWN)
    assert [shard.name for shard in on.queues] == [f"default.near.{n}" for n in range(4)]
    assert (on.kinds, on.exchanges) == (frozenset({"test.warm"}), ["default.near"])
