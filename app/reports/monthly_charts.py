"""The monthly report's charts."""

from collections.abc import Sequence

from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.charts.linecharts import HorizontalLineChart
from reportlab.graphics.shapes import Drawing, Rect, String
from reportlab.lib.colors import Color, HexColor

from app.reports.typeface import REGULAR

INK, FAINT, LINE = HexColor("#17202a"), HexColor("#5d6b78"), HexColor("#d9dfe4")
ACCENT, SECOND = HexColor("#0b6e69"), HexColor("#e0a33e")
_LABEL_SIZE = 7
_STEPS = 4


def growth_chart(contacts: Sequence[int], *, width: float, height: float) -> Drawing:
    """Contacts at the end of each day, as a line."""
    drawing = Drawing(width, height)
    chart = HorizontalLineChart()
    _place(chart, width, height)
    chart.data = [list(contacts)]
    chart.lines[0].strokeColor = ACCENT
    chart.lines[0].strokeWidth = 1.6
    chart.joinedLines = 1
    low, high = min(contacts), max(contacts)
    floor = low if high - low < low / 2 else 0
    _axes(chart, len(contacts), floor=floor, high=high)
    drawing.add(chart)
    return drawing


def rows_chart(
    inserted: Sequence[int], updated: Sequence[int], *, width: float, height: float
) -> Drawing:
    """Rows that imports brought on each day, as bars of new ones and changed ones on top."""
    drawing = Drawing(width, height)
    chart = VerticalBarChart()
    _place(chart, width, height)
    chart.data = [list(inserted), list(updated)]
    chart.categoryAxis.style = "stacked"
    chart.groupSpacing = 3
    for number, color in enumerate((ACCENT, SECOND)):
        chart.bars[number].fillColor = color
        chart.bars[number].strokeColor = None
        chart.bars[number].strokeWidth = 0
    high = max(a + b for a, b in zip(inserted, updated, strict=True))
    _axes(chart, len(inserted), floor=0, high=high)
    drawing.add(chart)
    _legend(drawing, width, height, (("inserted", ACCENT), ("updated", SECOND)))
    return drawing


def nice_step(span: float) -> int:
    """A round distance between the lines of an axis that is so long: 1, 2 or 5 times a power of ten."""
    size = 1
    while True:
        for factor in (1, 2, 5):
            if factor * size * _STEPS >= span:
                return factor * size
        size *= 10


def _place(chart: HorizontalLineChart | VerticalBarChart, width: float, height: float) -> None:
    chart.x, chart.y = 46, 18
    chart.width, chart.height = width - 50, height - 36


def _axes(
    chart: HorizontalLineChart | VerticalBarChart, days: int, *, floor: int, high: int
) -> None:
    step = nice_step(max(high - floor, 1))
    bottom = floor // step * step
    values, categories = chart.valueAxis, chart.categoryAxis
    values.valueMin, values.valueStep = bottom, step
    values.valueMax = bottom + step * max(1, -(-(high - bottom) // step))
    values.labelTextFormat = lambda value: f"{value:,.0f}"
    values.visibleGrid, values.gridStrokeColor, values.gridStrokeWidth = 1, LINE, 0.5
    values.visibleAxis, values.visibleTicks = 0, 0
    categories.categoryNames = [
        str(day) if day == 1 or day % 5 == 0 else "" for day in range(1, days + 1)
    ]
    categories.strokeColor, categories.visibleTicks = LINE, 0
    for axis in (values, categories):
        axis.labels.fontName, axis.labels.fontSize = REGULAR, _LABEL_SIZE
        axis.labels.fillColor = FAINT


def _legend(
    drawing: Drawing, width: float, height: float, entries: Sequence[tuple[str, Color]]
) -> None:
    left = width - 4 - 62 * len(entries)
    for number, (name, color) in enumerate(entries):
        x = left + 62 * number
        drawing.add(Rect(x, height - 10, 7, 7, fillColor=color, strokeColor=None))
        drawing.add(
            String(
                x + 11, height - 9, name, fontName=REGULAR, fontSize=_LABEL_SIZE, fillColor=FAINT
            )
        )
