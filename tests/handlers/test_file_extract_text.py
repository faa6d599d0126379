"""The text of documents, whatever they are written in; and of what is meant to do harm, none."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from app.files import decoding
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.documents import (
    pdf,
    pdf_bomb,
    scanned_pdf,
    word,
    word_bomb,
    word_that_lies,
    word_with_laughs,
)
from tests.support.files import accepted_file, content, file_row, run_files
from tests.support.imports import dispatch
from tests.support.runtime import Worker
from workers.runtime.executor import Disposition

HTML = (
    "<!DOCTYPE html><html><head><title>T&auml;tigkeit</title><style>p{}</style></head><body><script>no()</script>"
    "<p>One <b>two</b>\n three<p>Four<ul><li>Five<li>Six</ul></body></html>"
)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (pdf("Page one", "Page two"), "Page one\nPage two"),
        (word(), "Umsatz für März\nПервый абзац\nleft\tright\n末尾"),  # noqa: RUF001
        (HTML.encode(), "Tätigkeit\nOne two three\nFour\nFive\nSix"),
        (
            "Grüße\r\n\r\n\r\n\r\nzurück\x00\x1b".encode("cp1252").replace(b"\0\x1b", b""),
            "Grüße\n\nzurück",
        ),
        ("これは\n".encode("utf-16"), "これは"),
        (b"\xef\xbb\xbfa,b\n1,2\n", "a,b\n1,2"),
    ],
    ids=["pdf", "docx", "html", "cp1252", "utf-16", "csv"],
)
def test_the_text_is_stored_and_its_beginning_kept(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, data: bytes, text: str
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, data)
    assert run_files(worker, engine) == ["file.extract_text"]
    file = file_row(engine, tenant.id, file_id)
    assert (file.state, file.text_state, file.error) == ("uploaded", "done", None)
    assert content(storage, file.text_key).decode() == text
    assert file.text_excerpt == " ".join(text.split())
    assert (file.text_chars, file.text_truncated) == (len(text), False)


def test_a_scanned_page_has_no_text(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, scanned_pdf())
    run_files(worker, engine)
    file = file_row(engine, tenant.id, file_id)
    assert (file.text_state, file.text_key, file.text_excerpt) == ("no_text", None, "")


def test_very_much_text_is_cut_and_says_so(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "MAX_CHARS", 1000)
    file_id = accepted_file(engine, storage, tenant.id, b"word " * 1000)
    run_files(worker, engine)
    file = file_row(engine, tenant.id, file_id)
    assert (file.text_chars, file.text_truncated) == (1000, True)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (pdf_bomb, "too_large_unpacked"),
        (word_bomb, "too_large_unpacked"),
        (word_that_lies, "undecodable"),
        (lambda: pdf("secret", password="open me"), "encrypted"),
        (lambda: b"%PDF-1.7\nnothing of the kind", "undecodable"),
    ],
    ids=["pdf bomb", "docx bomb", "docx that lies", "locked", "no pdf"],
)
def test_what_can_not_be_read_fails_at_once_and_says_why(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    make: Callable[[], bytes],
    code: str,
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, make())
    ((job_id, _),) = dispatch(engine)
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    file = file_row(engine, tenant.id, file_id)
    assert (file.state, file.text_state) == ("failed", "failed")
    assert file.error is not None
    assert file.error["code"] == code


def test_entities_are_not_expanded(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, word_with_laughs())
    run_files(worker, engine)
    file = file_row(engine, tenant.id, file_id)
    assert (file.text_chars or 0) < 100
