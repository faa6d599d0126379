"""The text of a PDF's pages, in their order."""

import logging
from collections.abc import Iterator
from typing import BinaryIO

import pypdf
from pypdf.errors import DependencyError, LimitReachedError, PyPdfError

from app.files.sandbox.refusal import Refused

MAX_PAGES = 5000
_STREAM_BYTES = 32 * 1024 * 1024
_FAULTS = (
    PyPdfError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    RecursionError,
    OSError,
)
"""What the library raises for files that aren't as they should be."""


def pages(source: BinaryIO) -> Iterator[str]:
    """A page that can't be read is left out; a file of which none can be read is refused. Raises Refused."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    pypdf.overwrite_configuration(
        zlib_maximum_output_length=_STREAM_BYTES,
        lzw_maximum_output_length=_STREAM_BYTES,
        run_length_maximum_output_length=_STREAM_BYTES,
        jbig2dec_binary=None,
    )
    try:
        reader = pypdf.PdfReader(source)
        if reader.is_encrypted and not reader.decrypt(""):
            raise _encrypted()
        count = len(reader.pages)
    except DependencyError:
        raise _encrypted() from None
    except LimitReachedError as bomb:
        raise _bomb(bomb) from None
    except _FAULTS as bad:
        raise Refused(f"The PDF can't be read: {str(bad)[:200]}", "undecodable") from None
    yield from _texts(reader, min(count, MAX_PAGES))


def _texts(reader: pypdf.PdfReader, count: int) -> Iterator[str]:
    bad = 0
    for index in range(count):
        try:
            page = reader.pages[index]
            contents = page.get_contents()
            if contents is not None:
                contents.get_data()  # raises where extract_text would make nothing of a bomb
            yield page.extract_text()
        except LimitReachedError as bomb:
            raise _bomb(bomb) from None
        except _FAULTS:
            bad += 1
    if bad == count > 0:
        raise Refused("No page of the PDF can be read.", "undecodable")


def _bomb(why: Exception) -> Refused:
    return Refused(f"The PDF unpacks to more than it may: {str(why)[:200]}", "too_large_unpacked")


def _encrypted() -> Refused:
    return Refused("The PDF is locked with a password. Send it without one.", "encrypted")
