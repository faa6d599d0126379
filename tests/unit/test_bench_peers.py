"""The page and the picture of the comparison with other job systems, from figures of our own making."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.peers import best_slots, summary
from bench.peers_catalog import EACH, MANY, OURS, SIDES
from bench.peers_page import PAGE, write_page

RATES = {
    (name, slots): [100.0 * (number + 1) * slots, 90.0, 200.0 * (number + 1)]
    for number, name in enumerate(SIDES)
    for slots in ((1, MANY) if SIDES[name].many else (1,))
}
COSTS = {key: [10, 30, 20] for key in RATES}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    copy = tmp_path / PAGE.name
    copy.write_text(PAGE.read_text())
    return copy


def test_a_side_counts_as_fast_as_it_can_be() -> None:
    rates = {("it", 1): [50.0, 10.0, 60.0], ("it", MANY): [900.0, 20.0, 30.0]}
    assert best_slots(rates, "it") == ("it", 1)


def test_the_ratio_is_of_rounds_and_not_of_medians() -> None:
    rates = {
        (OURS, 1): [100.0, 300.0, 200.0],
        (EACH, 1): [100.0, 900.0, 800.0],
        ("taskiq", 1): [50.0, 300.0, 400.0],
    }
    facts = summary(rates, {key: [7, 9, 8] for key in rates})["taskiq"]
    assert (facts["ours_is"], facts["message_each_is"]) == (1.0, 2.0)
    assert facts["jobs_per_s"] == 300
    assert facts["cpu_us_per_job"] == 8


def test_the_page_has_a_line_for_each_side_and_the_fastest_first(page: Path) -> None:
    facts = summary(RATES, COSTS)
    write_page(facts, jobs=1000, rounds=3, page=page)
    table = page.read_text().partition("<!-- rates: begin -->\n")[2].partition("<!--")[0]
    measured, _, *lines = table.splitlines()
    assert measured == "Medians of 3 rounds of 1,000 jobs."
    lines = lines[2:]
    rates = [
        max(int(cell.replace(",", "")) for cell in line.split("|")[2:4] if cell.strip())
        for line in lines
    ]
    assert {line.split("|")[1].strip() for line in lines} == {one.title for one in SIDES.values()}
    assert rates == sorted(rates, reverse=True)
    once = page.read_text()
    write_page(facts, jobs=1000, rounds=3, page=page)
    assert page.read_text() == once


def test_the_picture_has_a_bar_for_each_side_as_long_as_it_is_fast(page: Path) -> None:
    facts = summary(RATES, COSTS)
    write_page(facts, jobs=1000, rounds=3, page=page)
    drawing = ET.fromstring(page.with_suffix(".svg").read_text())  # noqa: S314 (our own)
    bars = [float(bar.attrib["width"]) for bar in drawing.iter("{http://www.w3.org/2000/svg}rect")]
    rates = sorted((side["jobs_per_s"] for side in facts.values()), reverse=True)
    assert [bar / bars[0] for bar in bars] == pytest.approx(
        [rate / rates[0] for rate in rates], rel=0.01
    )


def test_the_page_says_what_the_catalog_says_that_each_keeps(page: Path) -> None:
    write_page(summary(RATES, COSTS), jobs=1000, rounds=3, page=page)
    kept = [
        text.read_text().partition("<!-- promises: begin -->")[2].partition("<!-- promises: end")[0]
        for text in (PAGE, page)
    ]
    assert kept[0] == kept[1]
    titles = [line.split("|")[1].strip() for line in kept[0].strip().splitlines()[2:]]
    assert titles == ["Millrace", *(one.title for one in SIDES.values() if one.many)]
