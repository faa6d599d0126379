"""Requests that share a transaction: who shares, what each is told, and how many may wait."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence

import pytest

from app.api.group_commit import GroupCommit
from app.errors import Overloaded

DEADLINE = 10


class Ledger:
    """Stands where the database does: keeps what came together, and goes on when it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.fails: Exception | None = None

    def commit(self, items: Sequence[int]) -> list[str | Exception]:
        self.groups.append(list(items))
        self.begun.set()
        assert self.go_on.wait(DEADLINE)
        if self.fails is not None:
            raise self.fails
        return [ValueError(str(item)) if item < 0 else str(item) for item in items]


def play(scene: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), DEADLINE))


def test_who_comes_while_one_commits_shares_the_next_in_order() -> None:
    ledger = Ledger()

    async def scene() -> None:
        group = GroupCommit(ledger.commit, most=3, room=100)
        first = asyncio.create_task(group.add(0))
        assert await asyncio.to_thread(ledger.begun.wait, DEADLINE), "one alone waits for nobody"
        others = [asyncio.create_task(group.add(number)) for number in (1, -2, 3, 4)]
        await asyncio.sleep(0)
        ledger.go_on.set()
        told = await asyncio.gather(first, *others, return_exceptions=True)
        assert [str(each) for each in told] == ["0", "1", "-2", "3", "4"]
        assert [isinstance(each, ValueError) for each in told] == [False, False, True, False, False]

    play(scene)
    assert ledger.groups == [[0], [1, -2, 3], [4]]


def test_a_failed_transaction_is_the_error_of_all_in_it_and_of_no_other() -> None:
    ledger = Ledger()
    ledger.go_on.set()
    ledger.fails = ConnectionError("gone")

    async def scene() -> None:
        group = GroupCommit(ledger.commit, most=10, room=100)
        told = await asyncio.gather(group.add(1), group.add(2), return_exceptions=True)
        assert list(told) == [ledger.fails] * 2
        ledger.fails = None
        assert await group.add(3) == "3"

    play(scene)


def test_a_full_line_refuses_at_once() -> None:
    ledger = Ledger()

    async def scene() -> None:
        group = GroupCommit(ledger.commit, most=10, room=2)
        first = asyncio.create_task(group.add(0))
        await asyncio.to_thread(ledger.begun.wait, DEADLINE)
        waiting = [asyncio.create_task(group.add(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await group.add(3)
        assert refused.value.retry_after >= 1
        ledger.go_on.set()
        assert await asyncio.gather(first, *waiting) == ["0", "1", "2"]

    play(scene)
    assert ledger.groups == [[0], [1, 2]]


def test_a_request_that_is_cut_off_harms_no_other() -> None:
    ledger = Ledger()

    async def scene() -> None:
        group = GroupCommit(ledger.commit, most=10, room=100)
        cut, other = (asyncio.create_task(group.add(number)) for number in (1, 2))
        await asyncio.to_thread(ledger.begun.wait, DEADLINE)
        cut.cancel()
        ledger.go_on.set()
        assert await other == "2"
        assert await group.add(3) == "3"

    play(scene)
    assert ledger.groups == [[1, 2], [3]]
