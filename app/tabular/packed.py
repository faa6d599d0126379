"""Batches as bytes, for what can't be read again from a range of the source."""

import json
from collections.abc import Iterable, Iterator

from app.tabular.batch import Batch, Problem


def dump(batches: Iterable[Batch]) -> bytes:
    """JSON in ASCII: lone surrogates, which stand for undecodable bytes, come through."""
    return json.dumps([_plain(batch) for batch in batches], separators=(",", ":")).encode("ascii")


def load(data: bytes) -> Iterator[Batch]:
    """The batches that were dumped."""
    for first_row, records, problems, start, end, repaired in json.loads(data):
        known = {int(index): Problem(*each) for index, each in problems.items()}
        yield Batch(first_row, records, known, end, repaired, start)


def _plain(batch: Batch) -> list[object]:
    records = list(batch.records)
    return [batch.first_row, records, batch.problems, batch.start, batch.end, batch.repaired]
