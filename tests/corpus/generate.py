"""All the cases."""

from collections.abc import Iterator
from itertools import chain

from tests.corpus import (
    combined,
    containers,
    damage,
    dialects,
    encodings,
    headers,
    large,
    programs,
    sizes,
    structure,
)
from tests.corpus.case import Case

FAMILIES = (
    dialects,
    encodings,
    headers,
    structure,
    damage,
    combined,
    containers,
    programs,
    large,
    sizes,
)


def corpus() -> Iterator[Case]:
    """Every file, in the same order and with the same bytes in every run."""
    return chain.from_iterable(family.cases() for family in FAMILIES)
