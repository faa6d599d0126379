"""The tables that the files are made of, in Western languages."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from random import Random

from tests.corpus.case import Cells, Table, seeded

FIRST = [
    "Anna",
    "Jürgen",
    "Zoë",
    "Agnès",
    "François",
    "Søren",
    "Noël",
    "Íñigo",
    "Björn",
    "Renée",
    "Lucía",
    "Mark",
    "Tom",
    "Grace",
]
LAST = [
    "Müller",
    "Weiß",
    "Lefèvre",
    "Ångström",
    "Núñez",
    "Sørensen",
    "O'Brien",
    "Groß",
    "Dupré",
    "Smith",
    "García",
    "Brown",
    "Ödegård",
]
COMPANIES = (
    "Böhm & Söhne GmbH",
    "Smith, Jones and Partners",
    "Café Zürich AG",
    'The "Old" Mill',
    "Nordlys ApS",
    "Peña Hermanos S.L.",
    "ACME Ltd",
    "Weber; Kraus OHG",
)
CITIES = [
    "Köln",
    "Genève",
    "Málaga",
    "Århus",
    "Bristol",
    "Linz",
    "Besançon",
    "Malmö",
    "Porto",
    "Gent",
]
GOODS = (
    "Steel pipe",
    'Screen 24", matt, black',
    "Paper A4, 80 g, 500 sheets",
    "Desk lamp",
    'Door "Classic", oak',
    "Cable 2 m",
    "Chair, blue",
    "Mug 0.3 l",
)
TASKS = (
    "Leads the team.\nReports to the board, and to the auditors.",
    'Answers for "value for money" across the estate; see annex B.',
    "Runs payroll, pensions and travel.",
    "Policy on ports, rail\nand air.\n\nDeputises for the director.",
    "Keeps the records.",
    "Advises ministers",
)
SUPPLIERS = (
    "Aldon Civil Engineering Ltd",
    "Parker, Reeve & Co",
    "Borough of Eastham",
    'Tolland "Fleet" Services',
    "Warden Legal LLP",
    "Greenway Energy plc",
)
AREAS = ("Estates & Support", "Corporate Services", "IT, Data and Digital", "Highways", "Libraries")
EXPENSES = ("Rent", "Legal fees", "Consultancy, other", "Vehicles", "Electricity", "Training")
NATIONS = (
    ("Albania", "Tirana", "Europe", "Albanian"),
    ("Belgium", "Brussels", "Europe", "Dutch"),
    ("Chile", "Santiago", "South America", "Spanish"),
    ("Denmark", "Copenhagen", "Europe", "Danish"),
    ("Egypt", "Cairo", "Africa", "Arabic"),
    ("Fiji", "Suva", "Oceania", "Fijian"),
    ("Ghana", "Accra", "Africa", "English"),
    ("Haiti", "Port-au-Prince", "North America", "French"),
    ("India", "New Delhi", "Asia", "Hindi"),
    ("Jordan", "Amman", "Asia", "Arabic"),
)


def _made(name: str, header: str, rows: int, row: Callable[[Random, int], Cells]) -> Table:
    rng = seeded(name, rows)
    made = tuple(row(rng, number) for number in range(1, rows + 1))
    return Table(name, tuple(header.split("|")), made)


def _day(rng: Random) -> date:
    return date(2019, 1, 1) + timedelta(days=rng.randrange(1500))


def _amount(rng: Random) -> str:
    return f"{rng.randrange(-3_000, 900_000) + rng.randrange(100) / 100:,.2f}"


def orders(rows: int) -> Table:
    def row(rng: Random, number: int) -> Cells:
        price = f"{rng.randrange(1, 900)}.{rng.randrange(100):02}"
        goods = rng.choice(GOODS)
        return (f"A-{number:05}", str(_day(rng)), goods, str(rng.randrange(1, 40)), price)

    return _made("orders", "order|date|description|quantity|price", rows, row)


def contacts(rows: int) -> Table:
    def row(rng: Random, number: int) -> Cells:
        first, last = rng.choice(FIRST), rng.choice(LAST)
        phone = f"+49 {rng.randrange(100, 999)} {rng.randrange(10_000, 99_999)}"
        company = rng.choice(COMPANIES) if rng.random() < 0.8 else ""
        return (f"person{number}@example.org", first, last, company, phone, rng.choice(CITIES))

    return _made("contacts", "email|first_name|last_name|company|phone|city", rows, row)


def spending(rows: int) -> Table:
    def row(rng: Random, number: int) -> Cells:
        day = _day(rng).strftime("%d/%m/%Y")
        paid = str(5_100_000_000 + number * 7)
        middle = (rng.choice(EXPENSES), rng.choice(AREAS), rng.choice(SUPPLIERS))
        return ("Department for Ports", "Harbour Agency", day, *middle, paid, _amount(rng))

    header = "Department|Entity|Date|Expense type|Expense area|Supplier|Transaction number|Amount"
    return _made("spending", header, rows, row)


def organogram(rows: int) -> Table:
    def row(rng: Random, number: int) -> Cells:
        name = f"{rng.choice(FIRST)} {rng.choice(LAST)}"
        pay = str(60_000 + 5_000 * rng.randrange(20))
        mail = f"unit{rng.randrange(9)}@example.gov"
        job = rng.choice(("Director, Finance", "Head of Unit", "Deputy Director", "Chief Surveyor"))
        return (f"HA{number}", name, f"SCS{rng.randrange(1, 4)}", job, rng.choice(TASKS), mail, pay)

    header = "Post|Name|Grade|Job Title|Job/Team Function|Contact E-mail|Actual Pay Floor (£)"
    return _made("organogram", header, rows, row)


def sensors(rows: int) -> Table:
    def row(rng: Random, number: int) -> Cells:
        readings = [f"{rng.uniform(-20, 90):.3f}" for _ in range(4)]
        return (str(1_600_000_000 + 60 * number), *readings)

    return _made("sensors", "timestamp|temperature|humidity|pressure|voltage", rows, row)


def products(rows: int) -> Table:
    def row(rng: Random, number: int) -> Cells:
        price = f"{rng.randrange(1, 500)}.{rng.choice(('00', '50', '95'))}"
        stock = str(rng.randrange(0, 900)) if rng.random() < 0.9 else ""
        sku = f"{rng.randrange(1_000):04}-{number:04}"
        return (sku, rng.choice(GOODS), price, rng.choice(("EUR", "USD", "GBP")), stock)

    return _made("products", "sku|name|price|currency|stock", rows, row)


def mails(rows: int) -> Table:
    return _made("mails", "email", rows, lambda _, number: (f"someone{number}@example.net",))


def pairs(rows: int) -> Table:
    def row(rng: Random, number: int) -> Cells:
        return (f"K{number:03}", str(rng.randrange(10_000)))

    return _made("pairs", "key|value", rows, row)


def nations(rows: int) -> Table:
    header = "country|capital|continent|language"
    return _made("nations", header, rows, lambda _, number: NATIONS[(number - 1) % len(NATIONS)])


def events(rows: int) -> Table:
    def row(rng: Random, number: int) -> Cells:
        at = f"{_day(rng)}T{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}Z"
        url = f"https://example.com/a/{number}?x={rng.randrange(99)}&y=1,2;3#top"
        data = f'{{"id": {number}, "tags": ["a", "b|c"], "note": "x; y: z"}}'
        return (at, url, data, rng.choice(("info", "warning")), f"10.0.{number % 250}.1")

    return _made("events", "at|url|data|level|address", rows, row)


def letters(rows: int) -> Table:
    """Text with many commas, and a date and a number that fix what a column is."""
    parts = ("in short", "as agreed", "however", "by the way", "thank you", "see above", "yes")

    def row(rng: Random, number: int) -> Cells:
        text = ", ".join(rng.choice(parts) for _ in range(rng.randrange(2, 8)))
        return (str(number), str(_day(rng)), text, rng.choice(("open", "closed")))

    return _made("letters", "number|received|text|state", rows, row)


def lists(rows: int) -> Table:
    """Text with many semicolons."""
    made = letters(rows)
    swapped = tuple((*row[:2], row[2].replace(", ", "; "), row[3]) for row in made.rows)
    return Table("lists", made.header, swapped)


def decimals(rows: int) -> Table:
    """Numbers with decimal commas and thousands points, German dates."""

    def row(rng: Random, number: int) -> Cells:
        day = _day(rng).strftime("%d.%m.%Y")
        net = f"{rng.randrange(900)},{rng.randrange(100):02}"
        gross = f"{rng.randrange(1, 90)}.{rng.randrange(1000):03},{rng.randrange(100):02}"
        return (f"R{number:04}", day, rng.choice(CITIES), net, gross)

    return _made("decimals", "Rechnung|Datum|Ort|Menge|Betrag", rows, row)


def times(rows: int) -> Table:
    def row(rng: Random, number: int) -> Cells:
        start = f"{rng.randrange(24):02}:{rng.randrange(60):02}"
        return (
            f"{number}",
            start,
            f"{start}:{rng.randrange(60):02}.{number:03}",
            rng.choice(CITIES),
        )

    return _made("times", "run|start|finish|place", rows, row)


TABLES: Mapping[str, Callable[[int], Table]] = {
    make.__name__: make
    for make in (
        orders,
        contacts,
        spending,
        organogram,
        sensors,
        products,
        mails,
        pairs,
        nations,
        events,
        letters,
        lists,
        decimals,
        times,
    )
}
