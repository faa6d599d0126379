"""The demo's CSV of contacts: invented, the same for the same seed, and faulty as real files are.

`python -m infra.local.sample [ROWS [SEED]] > contacts.csv`
"""

import csv
import io
import random
import sys
from collections.abc import Callable, Iterator, Sequence

HEADER = ("Email", "First Name", "Last Name", "Company", "Phone", "Plan")

FIRST = (
    "Ada Alan Amélie Anaïs Bjørn Chloé Dmitri Edsger Élodie Fatima Grace Håkon Ines Jürgen Kenji "
    "Lucía Łukasz Margaret María Mei Niklaus Noël Olga Priya Radia Søren Siobhán Tomáš Zoë 美咲 伟"
).split()
LAST = (
    "Ångström Brontë Çelik Dijkstra Fernández García Hopper Ivanova Jørgensen Kowalski Lovelace "
    "Müller Núñez O'Brien Østergaard Perlman Quispe Ramírez Šimić Turing Ünal Vasquez Weiß Wójcik "
    "Yılmaz Zhang 田中 李"
).split()
COMPANIES = (
    "Northwind Mills",
    "Weir & Sluice, Ltd.",
    'The "Old Mill" Bakery',
    "Grist GmbH",
    "Tailwater\nHoldings",
    "Café Moulin",
    "Spillway Systems, Inc.",
    "",
)
DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com", "team.example.org")
PLANS = ("free", "starter", "team", "enterprise")

Row = list[str]
Fault = Callable[[Row, random.Random], Row]


def sample_csv(rows: int = 20_000, *, seed: int = 7) -> bytes:
    """`rows` data rows below a header, as UTF-8 with CRLF line ends (RFC 4180).

    About one row in fifty cannot be imported, one in a hundred repeats an earlier address, and
    one in fifty is merely untidy.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows(_rows(rows, random.Random(seed)))
    return text.getvalue().encode()


def _rows(count: int, dice: random.Random) -> Iterator[Row]:
    addresses: list[str] = []
    for number in range(count):
        row = _contact(number, dice)
        chance = dice.random()
        if chance < 0.02:
            row = dice.choice(FAULTS)(row, dice)
        elif chance < 0.03 and addresses:
            row[0] = dice.choice(addresses)
        elif chance < 0.05:
            row = _untidy(row, dice)
        else:
            addresses.append(row[0])
        yield row


def _contact(number: int, dice: random.Random) -> Row:
    first, last = dice.choice(FIRST), dice.choice(LAST)
    stem = f"{_ascii(first)}.{_ascii(last)}".strip(".")
    return [
        f"{stem}{number}@{dice.choice(DOMAINS)}",
        first,
        last,
        dice.choice(COMPANIES),
        f"+44 20 7946 {dice.randrange(1000):04d}",  # a range set aside for fiction
        dice.choice(PLANS),
    ]


def _ascii(name: str) -> str:
    return "".join(letter for letter in name.lower() if "a" <= letter <= "z")


def _untidy(row: Row, dice: random.Random) -> Row:
    """Still a good contact: stray spaces, shouted addresses."""
    if dice.random() < 0.5:
        return [f"  {row[0]} ", f"{row[1]} ", *row[2:]]
    return [row[0].upper(), *row[1:]]


def _no_address(row: Row, _dice: random.Random) -> Row:
    return ["", *row[1:]]


def _broken_address(row: Row, dice: random.Random) -> Row:
    local, _, domain = row[0].partition("@")
    broken = (
        f"{local}.{domain}",
        f"{local}@",
        f"{local}@@{domain}",
        f"{local} {domain}",
        f"{local}@{domain}..com",
        "n/a",
    )
    return [dice.choice(broken), *row[1:]]


def _too_few(row: Row, dice: random.Random) -> Row:
    return row[: dice.randrange(2, 5)]


def _too_many(row: Row, dice: random.Random) -> Row:
    return [*row, *["stray"] * dice.randrange(1, 3)]


FAULTS: Sequence[Fault] = (_no_address, _broken_address, _broken_address, _too_few, _too_many)


def main(words: Sequence[str]) -> None:
    rows, seed = int(words[0]) if words else 20_000, int(words[1]) if len(words) > 1 else 7
    sys.stdout.buffer.write(sample_csv(rows, seed=seed))


if __name__ == "__main__":
    main(sys.argv[1:])
