"""The reports' letters: embedded fonts, and what happens to characters that they don't have."""

import unicodedata
from functools import lru_cache
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

REGULAR, BOLD = "Report", "Report-Bold"
_EXTRA = "Report-Extra"
_FONTS = Path(__file__).with_name("fonts")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
STAND_IN = "?"


class Typeface:
    """Latin, Greek and Cyrillic, and `extra`, a TrueType file, for what else there is.

    A character that neither has is shown as a question mark, never as an empty box; so are scripts that are
    written from right to left, whose letters would stand in the wrong order. `replaced` says that it happened.
    """

    def __init__(self, extra: str | None = None) -> None:
        _register()
        self.replaced = False
        self._own = frozenset(pdfmetrics.getFont(REGULAR).face.charToGlyph)
        self._more: frozenset[int] = frozenset()
        if extra is not None:
            pdfmetrics.registerFont(TTFont(_EXTRA, extra))
            self._more = frozenset(pdfmetrics.getFont(_EXTRA).face.charToGlyph)

    def can_show(self, text: str) -> bool:
        """Whether all of it can be read in the report."""
        return all(self._font(one) is not None for one in _plain(text))

    def markup(self, text: str) -> str:
        """The text for a paragraph, in one line of its own."""
        return "".join(self._shown(one) for one in _plain(text))

    def _shown(self, one: str) -> str:
        font = self._font(one)
        if font is None:
            self.replaced = True
            return STAND_IN
        return escape(one) if font == REGULAR else f'<font name="{_EXTRA}">{escape(one)}</font>'

    def _font(self, one: str) -> str | None:
        if unicodedata.bidirectional(one) in _RIGHT_TO_LEFT:
            return None
        if ord(one) in self._own:
            return REGULAR
        return _EXTRA if ord(one) in self._more else None


def _plain(text: str) -> str:
    """Composed, without line breaks and what can't be seen."""
    words = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(one for one in words if unicodedata.category(one) not in {"Cc", "Cf"})


@lru_cache(maxsize=1)
def _register() -> None:
    pdfmetrics.registerFont(TTFont(REGULAR, _FONTS / "NotoSans-Regular.ttf"))
    pdfmetrics.registerFont(TTFont(BOLD, _FONTS / "NotoSans-Bold.ttf"))
    pdfmetrics.registerFontFamily(
        REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD
    )
