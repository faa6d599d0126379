"""What uploads need of the object store, asked of a real one."""

from io import BytesIO
from typing import Any

import pytest
from botocore.exceptions import IncompleteReadError
from botocore.response import StreamingBody

from app.storage import READ_TRIES, Storage

DATA = bytes(number * 7919 % 251 for number in range(251)) * 1200
PART = 5 * 1024 * 1024


def test_an_object_is_read_as_a_file(storage: Storage) -> None:
    storage.put("a/b", DATA, content_type="text/csv")
    with storage.open("a/b") as file:
        assert file.read() == DATA
        file.seek(-10, 2)
        assert file.read() == DATA[-10:]
        file.seek(200_000)
        assert file.read(5) == DATA[200_000:200_005]
    with storage.open("a/b", size=len(DATA)) as known:
        assert known.read() == DATA
    with pytest.raises(FileNotFoundError):
        storage.open("a/c")


def test_what_is_known_of_an_object(storage: Storage) -> None:
    storage.put("a/b", DATA, content_type="text/csv")
    found = storage.head("a/b")
    assert found is not None
    assert (found.key, found.size) == ("a/b", len(DATA))
    assert storage.head("a/c") is None


def test_the_parts_that_have_arrived_and_none_of_an_upload_that_is_over(storage: Storage) -> None:
    upload = storage.begin_multipart("a/b", content_type="text/csv")
    assert storage.list_parts("a/b", upload) == []
    first = storage.put_part("a/b", upload, 1, b"x" * PART)
    last = storage.put_part("a/b", upload, 2, b"end")
    listed = storage.list_parts("a/b", upload)
    assert listed is not None
    assert [(part.number, part.size, part.etag) for part in listed] == [
        (1, PART, first.etag),
        (2, 3, last.etag),
    ]
    storage.complete_multipart("a/b", upload, listed)
    assert storage.list_parts("a/b", upload) is None
    storage.abort_multipart("a/b", upload)
    assert storage.head("a/b") is not None


class BreakingClient:
    """Whose answers end early, `times` times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.asked = 0

    def get_object(self, **_: Any) -> dict[str, Any]:
        self.asked += 1
        whole = self.left == 0
        self.left -= not whole
        body = DATA if whole else DATA[:100]
        return {"Body": StreamingBody(BytesIO(body), len(DATA))}


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    client = BreakingClient(READ_TRIES - 1)
    assert Storage(client, "b").read_range("k", 0, len(DATA)) == DATA  # type: ignore[arg-type]
    assert client.asked == READ_TRIES
    with pytest.raises(IncompleteReadError):
        Storage(BreakingClient(READ_TRIES), "b").read_range("k", 0, 1)  # type: ignore[arg-type]
