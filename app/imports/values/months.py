"""Names of months, in seven languages, as dates have them: whole and cut short."""

from unicodedata import combining, normalize

_NAMES = """
    january jan januar janner jaenner jänner janvier janv enero ene januari gennaio gen janeiro
    february feb februar febr feber fevrier fevr febrero februari febbraio fevereiro fev
    march mar maerz märz mrz mars marzo maart mrt marco março
    april apr avril avr abril abr aprile
    may mai mayo mei maggio mag maio
    june jun juni juin junio giugno giu junho
    july jul juli juillet juil julio luglio lug julho
    august aug aout août agosto ago augustus
    september sep sept septembre septiembre set settembre setembro
    october oct oktober okt octobre octubre ottobre ott outubro out
    november nov novembre noviembre novembro
    december dec dezember dez decembre diciembre dic dicembre dezembro
"""


def unaccented(word: str) -> str:
    """In lower case, without accents."""
    return "".join(one for one in normalize("NFKD", word.casefold()) if not combining(one))


MONTHS = {
    unaccented(name): number
    for number, line in enumerate(_NAMES.strip().splitlines(), 1)
    for name in line.split()
}
"""Unaccented name -> 1 to 12."""
