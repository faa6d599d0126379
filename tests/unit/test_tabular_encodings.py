"""Encodings are found: by mark, by form, by likelihood."""
# ruff: noqa: RUF001 - letters of other alphabets are what this is about

import codecs

import pytest

from app.errors import Unprocessable
from tests.support.tables import read

TEXTS = {
    "cp1252": "Name;Straße\nJörg;Königsallee 5\nAndré;Rue 3 \u2013 \u201ex\u201c\n",
    "iso8859_15": "Name;Betrag\nJörg;5 €\nAnn;7 €\n",
    "cp1250": "Jméno;Město\nŽluťoučký;Plzeň\nŠárka;Říčany\nŁukasz;Łódź\n",
    "cp1251": "Имя;Город\nИван;Москва\nАнна;Казань\n",
    "koi8_r": "Имя;Город\nИван Петров;Москва\nАнна;Казань\n",
    "cp1253": "Όνομα;Πόλη\nΓιώργος;Αθήνα\nΜαρία;Θεσσαλονίκη\n",
    "cp1254": "Ad;Şehir\nAyşe Yılmaz;İstanbul\nIşık;Diyarbakır\n",
    "cp850": "Name;City\nJörg Müller;Düsseldorf\nAndré;Montréal\nJoão Água;São Paulo\n",
    "mac_roman": "Name;City\nJörg Müller;Düsseldorf\nAndré;Montréal\n",
    "cp932": "名前;都市\n山田太郎;東京\n鈴木花子;大阪\nスズキ;カナ\n",
    "gb18030": "姓名;城市\n王小明;北京\n李雷;上海\n韩梅梅;广州\n",
    "big5": "姓名;城市\n王小明;台北\n陳美麗;高雄\n",
    "euc_kr": "이름;도시\n김철수;서울\n이영희;부산\n",
    "euc_jp": "名前;都市\nスズキ;東京\nヤマダ;大阪\n",
    "iso2022_jp": "名前;都市\n山田太郎;東京\n",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_encodings_from_before_unicode(encoding: str) -> None:
    text = TEXTS[encoding]
    found = read(text.encode(encoding))
    assert [found.columns, *found.rows] == [line.split(";") for line in text.splitlines()]
    assert "encoding_guessed" in found.doubts


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_unicode(encoding: str, mark: bool) -> None:
    text = "name,city\nJörg,Köln\nAnn,北京\nIvan,Москва\n"
    found = read(("\ufeff" * mark + text).encode(encoding))
    assert [found.columns, *found.rows] == [line.split(",") for line in text.splitlines()]
    assert (found.layout.encoding, found.doubts & {"encoding_guessed"}) == (encoding, set())
    assert found.layout.bom_bytes == len("\ufeff".encode(encoding)) * mark
    assert found.layout.rangeable == (encoding == "utf-8")


def test_utf16_that_is_broken_is_a_problem_of_its_row() -> None:
    data = "a,b\nx,1\n".encode("utf-16-le") + b"\x00\xd8" + "y,2\nz,3\n".encode("utf-16-le")
    found = read(codecs.BOM_UTF16_LE + data)
    assert {row: problem.code for row, problem in found.problems.items()} == {3: "not_in_encoding"}
    assert (found.rows[0], found.rows[2]) == (["x", "1"], ["z", "3"])


def test_one_letter_far_down_tells_the_encoding() -> None:
    plain = b"".join(b"%d,plain name\n" % number for number in range(150_000))
    found = read(b"id,name\n" + plain + "7,Jörg\n8,Müller\n9,Düren\n".encode("cp1252"))
    assert found.layout.encoding == "cp1252"
    assert found.rows[-1] == ["9", "Düren"]


def test_the_caller_names_the_encoding() -> None:
    assert read("a,b\nж,2\n".encode("koi8_r"), encoding="KOI8-R").rows == [["ж", "2"]]
    assert read("a,b\nж,2\n".encode("utf-16"), encoding="utf-16").rows == [["ж", "2"]]
    for name in ("rot13", "nope", "hex", "idna", "undefined"):
        with pytest.raises(Unprocessable) as caught:
            read("a,b\n1,2\n", encoding=name)
        assert caught.value.code == "unknown_encoding"
