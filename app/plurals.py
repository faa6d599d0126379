"""So many of a thing, in words: "1 event", "1,200 events"."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """The number with its thousands apart, and the thing; `many` where it isn't `one` with an s."""
    return f"{number:,} {plural(number, one, many)}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """The thing alone."""
    return one if number == 1 else many or f"{one}s"
