"""Our own reader, as the judge takes it."""

import io

from app.errors import MillraceError
from app.tabular.detect import open_table
from tests.corpus.judge import Outcome


def read(data: bytes, filename: str) -> Outcome:
    """What the importer sees in a file."""
    try:
        table = open_table(io.BytesIO(data), filename=filename)
        records: list[list[str]] = []
        flagged: set[int] = set()
        for batch in table.batches():
            flagged.update(len(records) + number for number in batch.problems)
            records.extend(batch.records)
    except MillraceError as error:
        return Outcome(refused=f"{error.code}: {error}")
    layout = table.layout
    return Outcome(
        header=layout.columns if layout.header_rows else None,
        records=records,
        flagged=frozenset(flagged),
    )
