"""The transition table is the graph that the design draws, edge for edge."""

import pytest

from app.ledger.state import FINISHED, TRANSITIONS, Event, State

EDGES = {
    (Event.ENQUEUE, None, State.SCHEDULED),
    (Event.WAIT, None, State.WAITING),
    (Event.RELEASE, State.WAITING, State.SCHEDULED),
    (Event.GIVE_UP, State.WAITING, State.DEAD),
    (Event.EXPIRE, State.WAITING, State.DEAD),
    (Event.CANCEL, State.WAITING, State.CANCELLED),
    (Event.REVIVE, State.DEAD, State.WAITING),
    (Event.DISPATCH, State.SCHEDULED, State.QUEUED),
    (Event.CLAIM, State.QUEUED, State.RUNNING),
    (Event.TAKE_OVER, State.RUNNING, State.RUNNING),
    (Event.SUCCEED, State.RUNNING, State.SUCCEEDED),
    (Event.RETRY, State.RUNNING, State.SCHEDULED),
    (Event.SNOOZE, State.RUNNING, State.SCHEDULED),
    (Event.DIE, State.RUNNING, State.DEAD),
    (Event.EXPIRE, State.SCHEDULED, State.DEAD),
    (Event.EXPIRE, State.QUEUED, State.DEAD),
    (Event.BURY, State.QUEUED, State.DEAD),
    (Event.BURY, State.RUNNING, State.DEAD),
    (Event.RESCUE, State.QUEUED, State.SCHEDULED),
    (Event.RESCUE, State.RUNNING, State.SCHEDULED),
    (Event.CANCEL, State.SCHEDULED, State.CANCELLED),
    (Event.CANCEL, State.QUEUED, State.CANCELLED),
    (Event.CANCEL, State.RUNNING, State.CANCELLED),
    (Event.HASTEN, State.SCHEDULED, State.SCHEDULED),
    (Event.DEBOUNCE, State.SCHEDULED, State.SCHEDULED),
    (Event.REPLAY, State.DEAD, State.SCHEDULED),
    (Event.DISCARD, State.DEAD, State.DEAD),
}


def test_the_table_has_exactly_the_edges_of_the_design() -> None:
    table = {
        (event, source, move.target)
        for event, move in TRANSITIONS.items()
        for source in (move.sources or {None})
    }
    assert table == EDGES


@pytest.mark.parametrize("event", Event)
def test_every_event_has_an_entry(event: Event) -> None:
    assert event in TRANSITIONS


def test_the_only_way_out_of_a_finished_state_is_the_replay_of_a_dead_job() -> None:
    ways_out = {
        (event, source)
        for event, move in TRANSITIONS.items()
        for source in move.sources & FINISHED
        if move.target != source
    }
    assert ways_out == {(Event.REPLAY, State.DEAD), (Event.REVIVE, State.DEAD)}


def test_every_state_can_be_reached_and_every_open_state_can_end() -> None:
    assert {move.target for move in TRANSITIONS.values()} == set(State)
    sources = {source for move in TRANSITIONS.values() for source in move.sources}
    assert set(State) - FINISHED <= sources


def test_the_table_is_read_only() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[Event.CLAIM] = TRANSITIONS[Event.DIE]  # type: ignore[index]
