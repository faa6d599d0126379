"""What a reader of a web page would see: no scripts, no styles, a line for each block."""

from collections.abc import Iterator
from html.parser import HTMLParser

_UNSEEN = frozenset({"script", "style", "template", "noscript", "svg", "math", "head"})
_INLINE = frozenset(
    [
        "a",
        "abbr",
        "b",
        "bdi",
        "bdo",
        "cite",
        "code",
        "data",
        "dfn",
        "em",
        "font",
        "i",
        "img",
        "kbd",
        "mark",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "time",
        "u",
        "var",
        "wbr",
    ]
)


class _Page(HTMLParser):
    """Collects text; elements that aren't closed don't swallow the rest of the page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._unseen: str | None = None
        self._depth = 0
        self._title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._title = tag == "title"
        if self._unseen is None and tag in _UNSEEN:
            self._unseen, self._depth = tag, 0
        elif self._unseen == "head" and tag == "body":
            self._unseen = None  # the head's end may be left out
        if tag == self._unseen:
            self._depth += 1
        elif tag not in _INLINE:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._title = False
        if tag == self._unseen:
            self._depth -= 1
            if self._depth <= 0:
                self._unseen = None
        elif tag not in _INLINE:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if self._unseen is None or self._title:
            self.pieces.append(data)


def blocks(text: str) -> Iterator[str]:
    """Line by line, blanks as a browser treats them."""
    page = _Page()
    page.feed(text)
    page.close()
    joined = "".join(piece if piece == "\n" else piece.replace("\n", " ") for piece in page.pieces)
    for line in joined.split("\n"):
        if seen := " ".join(line.split()):
            yield seen
