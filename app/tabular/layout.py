"""How a file is laid out: found once, stored with the import, and read by everything after."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Doubt(BaseModel):
    """Where detection is unsure or left something out, in words for the person who sent the file."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


class Layout(BaseModel):
    """All that is needed to read the file again without looking for anything.

    Records are numbered from 1 as a spreadsheet numbers rows: blank ones count, and a record with line
    breaks in its cells counts once.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["csv", "xlsx"] = "csv"
    """What the bytes are once unpacked; `xlsx` stands for any workbook."""
    container: Literal["plain", "gzip", "zip"] = "plain"
    member: str | None = None
    """Which file of a zip archive."""
    sheet: str | None = None
    """Which sheet of a workbook."""
    encoding: str = "utf-8"
    """A Python codec's name, never one of a kind that writes or expects a byte-order mark."""
    bom_bytes: int = 0
    """Length of the byte-order mark at the file's beginning."""
    delimiter: str = ","
    """One or more characters."""
    tail: str = ""
    """Delimiters of another kind behind every row, which separate nothing."""
    wrapped: bool = False
    """Whether rows may be one quoted cell in which the true cells are."""
    ruled: bool = False
    """Whether lines are drawn with dashes, as below a header: they are blank records."""
    skip_space: bool = False
    """Whether spaces after a delimiter belong to it; with a space as delimiter: whether runs count as one."""
    quote: str | None = '"'
    escape: str | None = None
    """A character that takes the meaning from the one after it; NUL, which JSON columns can't hold, by name."""
    doubled: bool = True
    """Whether a doubled quote inside quotes is one quote."""
    header_rows: tuple[int, ...] = ()
    """Numbers of the records with the columns' names; empty where the file has none."""
    first_row: int = 1
    """Number of the first data record."""
    columns: tuple[str, ...] = ()
    """The names as they stand; those of several header rows are joined by a space."""
    kinds: tuple[str, ...] = ()
    """What most cells of each column are (see `kinds`): number, date.. or text."""
    footer_rows: int = 0
    """Records after the last data record; known only when the whole file was seen."""
    doubts: tuple[Doubt, ...] = ()
    exact: bool = False
    """Written by us: every record is what it says, whatever its width, and nothing follows the table."""

    @property
    def rangeable(self) -> bool:
        """Whether a range of the source's bytes can be read by itself."""
        plain = self.kind == "csv" and self.container == "plain"
        return plain and not self.encoding.startswith(("utf-16", "utf-32"))


class Hints(BaseModel):
    """What the caller decides; the rest is found out."""

    model_config = ConfigDict(frozen=True)

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    """One character; empty for "nothing is quoted"."""
    escape: str | None = None
    header_row: int | None = None
    """Number of the (last) header record; 0 for "there is none"."""
    sheet: str | None = None
    member: str | None = None
