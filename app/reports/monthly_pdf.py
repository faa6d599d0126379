"""The monthly report as a PDF: what a customer would be shown."""

import time
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import Any

from reportlab.lib.colors import HexColor, white
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import TimeStamp
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Flowable,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Table,
    TableStyle,
)

from app.plurals import counted
from app.reports.monthly import MAX_LISTED, MonthlyFacts
from app.reports.monthly_charts import ACCENT, FAINT, INK, LINE, growth_chart, rows_chart
from app.reports.typeface import BOLD, REGULAR, Typeface

MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN
_FRAME_PADDING = 6
"""The library's own, around what is on a page."""
_NAME_CHARS = 90
_FIGURE_CHARS = 11
_BAD = HexColor("#b3261e")
_BAND = HexColor("#f1f5f4")


def _style(name: str, size: float, **more: Any) -> ParagraphStyle:
    facts = {"fontName": REGULAR, "textColor": INK, "leading": size * 1.3, **more}
    return ParagraphStyle(name, fontSize=size, splitLongWords=1, **facts)


_KICKER = _style("kicker", 8.5, textColor=ACCENT, fontName=BOLD)
_TITLE = _style("title", 24, fontName=BOLD, leading=29, spaceAfter=2)
_UNDER = _style("under", 10, textColor=FAINT, spaceAfter=10)
_HEAD = _style("head", 12.5, fontName=BOLD, spaceBefore=16, spaceAfter=6, keepWithNext=1)
_TEXT = _style("text", 9)
_NOTE = _style("note", 8, textColor=FAINT, spaceBefore=4)
_CELL = _style("cell", 8)
_NUMBER = _style("number", 8, alignment=TA_RIGHT)
_COLUMN = _style("column", 8, fontName=BOLD, textColor=white)
_COLUMN_NUMBER = _style("column number", 8, fontName=BOLD, textColor=white, alignment=TA_RIGHT)
_FIGURE = _style("figure", 17, fontName=BOLD, leading=21)
_FIGURE_NAME = _style("figure name", 8, textColor=FAINT)
_FIGURE_NOTE = _style("figure note", 8, textColor=FAINT)


def monthly_pdf(facts: MonthlyFacts, *, font: str | None = None) -> bytes:
    """The document: the same bytes for the same facts. `font` is a TrueType file for what ours lacks."""
    face = Typeface(font)
    shown = facts.tenant if face.can_show(facts.tenant) else facts.email
    story: list[Flowable] = [
        Paragraph("MONTHLY ACTIVITY REPORT", _KICKER),
        Paragraph(face.markup(shown), _TITLE),
        Paragraph(f"{_when(facts)}, times in {facts.month.zone.key}", _UNDER),
        _figures(facts),
        *_charts(facts),
        *_jobs(facts, face),
        *_imports(facts, face),
    ]
    if face.replaced or shown != facts.tenant:
        story.append(
            Paragraph(
                "Some names have characters that this report's fonts don't have. A question mark stands "
                "for each of them, and the address for the name of an account.",
                _NOTE,
            )
        )
    return _document(facts, shown, story)


def _when(facts: MonthlyFacts) -> str:
    return facts.month.title if facts.is_over else f"{facts.month.title} so far"


def _document(facts: MonthlyFacts, shown: str, story: list[Flowable]) -> bytes:
    title = f"Monthly activity report, {facts.month.title}"
    out = BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=MARGIN - _FRAME_PADDING,
        rightMargin=MARGIN - _FRAME_PADDING,
        topMargin=16 * mm,
        bottomMargin=20 * mm,
        title=title,
        author="Millrace",
        subject=f"{shown}: {facts.month.name}",
        creator="Millrace",
        lang="en",
        initialFontName=REGULAR,
        invariant=1,
        pageCompression=1,
    )
    footer = f"{facts.month.title} · {_cut(shown, 60)}"
    document.build(story, canvasmaker=partial(_Pages, made_at=facts.made_at, footer=footer))
    return out.getvalue()


class _Pages(Canvas):  # type: ignore[misc]
    """Writes the footers last, when it is known how many pages there are."""

    def __init__(self, *args: Any, made_at: Any, footer: str, **named: Any) -> None:
        super().__init__(*args, **named)
        self._footer = footer
        self._states: list[dict[str, Any]] = []
        self._doc._timeStamp = _stamp(made_at.timestamp())  # noqa: SLF001 - it offers no other way
        self.setViewerPreference("DisplayDocTitle", "true")

    def setFont(self, psfontname: str, size: float, leading: float | None = None) -> None:  # noqa: N802
        """Drawings begin with a font of the library's, which is not embedded and draws nothing."""
        ours = psfontname if psfontname.startswith(REGULAR) else REGULAR
        super().setFont(ours, size, leading)

    def showPage(self) -> None:  # noqa: N802 - the library's name
        self._states.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for number, state in enumerate(self._states, 1):
            self.__dict__.update(state)
            self._draw_footer(number, len(self._states))
            super().showPage()
        super().save()

    def _draw_footer(self, number: int, of: int) -> None:
        self.setStrokeColor(LINE)
        self.setLineWidth(0.5)
        self.line(MARGIN, 14 * mm, A4[0] - MARGIN, 14 * mm)
        self.setFont(REGULAR, 8)
        self.setFillColor(FAINT)
        self.drawString(MARGIN, 9.5 * mm, self._footer)
        self.drawRightString(A4[0] - MARGIN, 9.5 * mm, f"Page {number} of {of}")


def _stamp(seconds: float) -> TimeStamp:
    """When the report was made, and not when this process drew it: a later attempt makes the same file."""
    stamp = TimeStamp(invariant=1)
    stamp.t = seconds
    stamp.lt = time.gmtime(seconds)
    stamp.YMDhms = tuple(stamp.lt)[:6]
    return stamp


def _figures(facts: MonthlyFacts) -> Table:
    """The month at a glance: two lines of four."""
    imports, growth = facts.imports, facts.contacts_after - facts.contacts_before
    done = sum(line.succeeded for line in facts.jobs)
    dead = sum(line.dead for line in facts.jobs)
    share = f"{imports.rejected / imports.rows:.1%} of all rows" if imports.rows else "no rows"
    ended = f"{imports.succeeded:,} succeeded, {imports.failed:,} failed"
    if imports.cancelled:
        ended += f", {imports.cancelled:,} cancelled"
    cards = [
        ("Contacts", f"{facts.contacts_after:,}", f"{growth:+,} in the month" if growth else "as before", False),
        ("Imports", f"{imports.total:,}", ended if imports.total else "none", bool(imports.failed)),
        ("Rows inserted", f"{imports.inserted:,}", f"of {counted(imports.rows, 'row')}", False),
        ("Rows updated", f"{imports.updated:,}", f"{imports.unchanged:,} were up to date", False),
        ("Rows rejected", f"{imports.rejected:,}", share, False),
        ("Jobs done", f"{done:,}", "in the background", False),
        ("Jobs failed", f"{dead:,}", "for good" if dead else "none", bool(dead)),
    ]  # fmt: skip
    cells = [_card(*card) for card in cards]
    cells.append(
        _card("New contacts a day", f"{growth / len(facts.contacts):,.1f}", "on average", False)
    )
    table = Table([cells[:4], cells[4:]], colWidths=[WIDTH / 4] * 4)
    table.setStyle(
        TableStyle(
            [
                ("FONTNAME", (0, 0), (-1, -1), REGULAR),
                ("BACKGROUND", (0, 0), (-1, -1), _BAND),
                ("INNERGRID", (0, 0), (-1, -1), 3, white),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 9),
                ("TOPPADDING", (0, 0), (-1, -1), 7),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 8),
            ]
        )
    )
    return table


def _card(name: str, figure: str, note: str, bad: bool) -> list[Flowable]:
    color = f'<font color="{_BAD.hexval().replace("0x", "#")}">{note}</font>' if bad else note
    size = (
        _FIGURE if len(figure) <= _FIGURE_CHARS else ParagraphStyle("small", _FIGURE, fontSize=12)
    )
    return [Paragraph(name, _FIGURE_NAME), Paragraph(figure, size), Paragraph(color, _FIGURE_NOTE)]


def _charts(facts: MonthlyFacts) -> list[Flowable]:
    height = 44 * mm
    growth: Flowable = Paragraph("There were no contacts in this month.", _TEXT)
    if any(facts.contacts):
        growth = growth_chart(facts.contacts, width=WIDTH, height=height)
    rows: Flowable = Paragraph("No import brought a row in this month.", _TEXT)
    if any(facts.inserted) or any(facts.updated):
        rows = rows_chart(facts.inserted, facts.updated, width=WIDTH, height=height)
    return [
        KeepTogether([Paragraph("Contacts by day", _HEAD), growth]),
        KeepTogether([Paragraph("Rows imported by day", _HEAD), rows]),
    ]


def _jobs(facts: MonthlyFacts, face: Typeface) -> list[Flowable]:
    story: list[Flowable] = [Paragraph("Background jobs by outcome", _HEAD)]
    if facts.jobs:
        lines = [
            [face.markup(line.kind), f"{line.succeeded:,}", f"{line.dead:,}", f"{line.cancelled:,}"]
            for line in facts.jobs
        ]
        widths = [WIDTH - 3 * 26 * mm, *[26 * mm] * 3]
        story.append(_table(["Kind", "Succeeded", "Failed", "Cancelled"], lines, widths, texts=1))
    else:
        story.append(Paragraph("No job ended in this month.", _TEXT))
    if facts.jobs_from is not None:
        since = f"{facts.jobs_from.day} {facts.month.title}"
        text = f"Jobs that ended before {since} were no longer kept when this report was made."
        if facts.jobs_from > facts.month.days[-1]:
            text = "Jobs of this month were no longer kept when this report was made."
        story.append(Paragraph(text, _NOTE))
    return story


def _imports(facts: MonthlyFacts, face: Typeface) -> list[Flowable]:
    story: list[Flowable] = [Paragraph("Imports", _HEAD)]
    if not facts.listed:
        return [KeepTogether([*story, Paragraph("No import ended in this month.", _TEXT)])]
    lines = [
        [
            f"{line.ended:%d %b %H:%M}",
            face.markup(_cut(line.filename, _NAME_CHARS)),
            line.target,
            line.status,
            *(f"{n:,}" for n in (line.total, line.inserted, line.updated, line.rejected)),
        ]
        for line in facts.listed
    ]
    names = ["Ended", "File", "Target", "Outcome", "Rows", "Inserted", "Updated", "Rejected"]
    fixed = [22 * mm, 18 * mm, 20 * mm, *[19 * mm] * 4]
    widths = [fixed[0], WIDTH - sum(fixed), *fixed[1:]]
    story.append(_table(names, lines, widths, texts=4))
    if facts.imports.total > len(facts.listed):
        more = facts.imports.total - len(facts.listed)
        story.append(
            Paragraph(f"The first {MAX_LISTED:,} are listed; there are {more:,} more.", _NOTE)
        )
    return story


def _table(
    names: Sequence[str], lines: Sequence[Sequence[str]], widths: Sequence[float], *, texts: int
) -> Table:
    """With a header that is repeated on every page; the first `texts` columns are text, the others numbers."""
    header = [
        Paragraph(name, _COLUMN if index < texts else _COLUMN_NUMBER)
        for index, name in enumerate(names)
    ]
    body = [
        [Paragraph(cell, _CELL if index < texts else _NUMBER) for index, cell in enumerate(line)]
        for line in lines
    ]
    table = Table([header, *body], colWidths=list(widths), repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("FONTNAME", (0, 0), (-1, -1), REGULAR),
                ("BACKGROUND", (0, 0), (-1, 0), ACCENT),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, _BAND]),
                ("LINEBELOW", (0, 1), (-1, -1), 0.25, LINE),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 5),
                ("RIGHTPADDING", (0, 0), (-1, -1), 5),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
            ]
        )
    )
    return table


def _cut(text: str, most: int) -> str:
    """At most so many characters, the end of a name among them."""
    return text if len(text) <= most else f"{text[: most - 13]}…{text[-12:]}"
