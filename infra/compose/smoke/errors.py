"""What a smoke test says when something isn't as it should be."""


class SmokeError(Exception):
    """What went wrong, in a sentence."""


def check(holds: object, otherwise: str) -> None:
    """Raise SmokeError with what was found, unless it `holds`."""
    if not holds:
        raise SmokeError(otherwise)
