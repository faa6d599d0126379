"""What a process does while it loads its code."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import in this block what the process needs for as long as it lives.

    Modules are a million objects and next to no garbage: looking for some again and again meanwhile takes a
    quarter of the time, and so does every later look through all of them. They are never looked at again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
