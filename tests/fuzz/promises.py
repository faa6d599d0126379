"""What holds for any bytes at all: a table that can be read again by parts, or an error of ours."""

import gzip
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from app.errors import InvalidRequest
from app.tabular import detect, records
from app.tabular.batch import Batch
from app.tabular.detect import open_table, reopen
from app.tabular.layout import Layout
from app.tabular.packed import dump, load
from app.tabular.records import read_range

LONG_AGO = (2020, 2, 1, 12, 0, 0)


def _zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("data.csv", LONG_AGO), data)
    return out.getvalue()


def _wide(data: bytes) -> bytes:
    return b"\xff\xfe" + data.decode("latin-1").encode("utf-16-le")


WRAPPINGS: Sequence[Callable[[bytes], bytes]] = (
    bytes,
    bytes,
    bytes,
    bytes,
    lambda data: b"\xef\xbb\xbf" + data,
    _wide,
    lambda data: gzip.compress(data, 1, mtime=0),
    _zipped,
)
"""A fuzzer can't make a checksum right: the first byte of its input says how the rest is wrapped."""
SMALL_BLOCKS = 128
"""From this first byte on, the file is read in blocks of SMALL bytes."""
SMALL = 300


@contextmanager
def blocks_of(size: int) -> Iterator[None]:
    """Small blocks, so that a small file has several batches."""
    usual = records.BLOCK_BYTES
    _set_blocks(size)
    try:
        yield
    finally:
        _set_blocks(usual)


def _set_blocks(size: int) -> None:
    for module in (records, detect):
        vars(module)["BLOCK_BYTES"] = size


def check_input(data: bytes) -> None:
    """`check` the file that a fuzzer's input stands for."""
    small = bool(data) and data[0] >= SMALL_BLOCKS
    with blocks_of(SMALL if small else records.BLOCK_BYTES):
        check(unwrapped(data))


def unwrapped(data: bytes) -> bytes:
    """The file that a fuzzer's input stands for."""
    return WRAPPINGS[data[0] % len(WRAPPINGS)](data[1:]) if data else b""


def check(data: bytes, filename: str = "") -> None:
    """Raises AssertionError, or whatever the reader raised that it must not."""
    try:
        table = open_table(io.BytesIO(data), filename=filename)
        batches = list(table.batches())
    except InvalidRequest as error:
        _check_verdict(error)
        return
    layout = table.layout
    assert Layout.model_validate_json(layout.model_dump_json()) == layout
    _check_numbers(layout, batches, len(data))
    again = list(reopen(io.BytesIO(data), layout).batches())
    assert _contents(again) == _contents(batches)
    assert _contents(load(dump(batches))) == _contents(batches)
    if layout.rangeable:
        assert sum(len(batch.records) for batch in batches) <= len(data.splitlines())
        _check_ranges(data, layout, batches)


def _check_verdict(error: InvalidRequest) -> None:
    """It has a code, and says something."""
    assert error.code
    assert str(error)


def _check_numbers(layout: Layout, batches: Sequence[Batch], size: int) -> None:
    number, end = layout.first_row, 0
    for batch in batches:
        assert batch.first_row == number
        assert all(0 <= index < len(batch.records) for index in batch.problems)
        number += len(batch.records)
        assert end <= batch.end
        end = batch.end
        assert not layout.rangeable or end <= size


def _check_ranges(data: bytes, layout: Layout, batches: Sequence[Batch]) -> None:
    """Each batch, and all after the first."""
    if len(batches) < 2:
        return
    for before, batch in pairwise(batches):
        assert _contents(_range(data, layout, before, batch)) == _contents([batch])
    rest = _range(data, layout, batches[0], batches[-1])
    assert _contents(rest) == _contents(batches[1:])


def _range(data: bytes, layout: Layout, before: Batch, last: Batch) -> Iterator[Batch]:
    first_row = before.first_row + len(before.records)
    onward = io.BytesIO(data[before.end :])
    return read_range(onward, layout, first_row=first_row, start=before.end, end=last.end)


def _contents(batches: Iterable[Batch]) -> list[tuple[int, list[str], object]]:
    """Every record with its number and what is wrong with it, however they were batched."""
    return [
        (batch.first_row + index, record, batch.problems.get(index))
        for batch in batches
        for index, record in enumerate(batch.records)
    ]
