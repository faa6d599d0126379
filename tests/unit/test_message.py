"""What travels: a Celery task message (protocol 2) that holds five facts and nothing else."""

import json
from struct import unpack
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from amqp.method_framing import frame_handler
from hypothesis import given
from hypothesis import strategies as st
from kombu.serialization import loads

from app.broker.frames import publishing
from app.broker.message import JobMessage

MESSAGE = JobMessage(
    job_id=UUID(int=7),
    kind="import.plan",
    version=3,
    attempt=2,
    queue="default",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)


def test_kombu_decodes_the_body_as_arguments_keywords_and_options() -> None:
    wire = MESSAGE.encode()
    body = wire.body.encode() if isinstance(wire.body, str) else wire.body
    args, kwargs, embed = loads(
        body,
        content_type=wire.properties["content_type"],
        content_encoding=wire.properties["content_encoding"],
        accept=["application/json"],
    )
    assert args == []
    assert kwargs == {"job_id": str(UUID(int=7)), "version": 3, "attempt": 2}
    assert embed == {}


def test_it_holds_job_kind_version_attempt_and_trace_context_alone() -> None:
    wire = MESSAGE.encode()
    headers = dict(wire.properties["application_headers"])
    assert headers.pop("task") == "import.plan"
    assert headers.pop("traceparent") == MESSAGE.traceparent
    assert headers.pop("id") == headers.pop("root_id") == str(UUID(int=7))
    assert headers == {
        "lang": "py",
        "parent_id": None,
        "group": None,
        "kwargsrepr": "{'attempt': 2}",
    }


def test_it_survives_a_restart_of_the_broker_and_can_be_correlated() -> None:
    wire = MESSAGE.encode()
    assert wire.properties["delivery_mode"] == 2
    assert wire.properties["message_id"] == wire.properties["correlation_id"] == str(UUID(int=7))


@given(job_id=st.uuids(), version=st.integers(1, 99), attempt=st.integers(1, 10**6), kind=st.text())
def test_a_message_is_small_whatever_the_job(
    job_id: UUID, version: int, attempt: int, kind: str
) -> None:
    message = JobMessage(
        job_id=job_id, kind=kind, version=version, attempt=attempt, queue="low"
    ).encode()
    assert "traceparent" not in message.properties["application_headers"]
    assert len(message.body) < 256
    assert json.loads(message.body)[1]["attempt"] == attempt


@pytest.mark.parametrize("frame_max", [64, 131_072])
def test_the_frames_are_what_the_library_reads(frame_max: int) -> None:
    """Also where a body takes several of them."""
    wire = MESSAGE.encode()
    read: list[Any] = []
    handle = frame_handler(
        SimpleNamespace(bytes_recv=0),
        lambda *heard: read.append(heard),
        content_methods=frozenset({(60, 40)}),
    )
    data = publishing(3, ("the exchange", "the key"), wire, frame_max=frame_max)
    bodies = 0
    while data:
        kind, channel, size = unpack(">BHI", data[:7])
        assert data[7 + size] == 0xCE
        bodies += kind == 3
        handle((kind, channel, data[7 : 7 + size]))
        data = data[8 + size :]
    ((channel, method, arguments, message),) = read
    assert (channel, method) == (3, (60, 40))
    assert arguments == b"\x00\x3c\x00\x28\x00\x00\x0cthe exchange\x07the key\x01"
    assert message.body == str(wire.body).encode()
    assert message.properties == wire.properties
    assert (bodies > 1) is (frame_max == 64)
