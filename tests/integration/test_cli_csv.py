"""`millrace csv normalize`: anyone sees what the importer sees."""

import json
from pathlib import Path

from tests.support.commands import Said, run_process
from tests.support.tables import ROWS, written


def run(*words: str | Path) -> Said:
    return run_process({}, "csv", "normalize", *words)


def test_files_of_every_sort_become_plain_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(written(ROWS, delimiter=";").encode("utf-16"))
    (tmp_path / "b.txt").write_bytes(b"Report\n\n" + written(ROWS, delimiter="\t").encode())
    out = tmp_path / "deep" / "out"
    done = run(tmp_path / "a.csv", tmp_path / "b.txt", "--out", out)
    assert (done.status, done.out) == (0, "")
    assert f"{len(ROWS)} rows" in done.err
    assert "above the table" in done.err
    plain = written(ROWS, end="\n").encode()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        "a.csv": plain,
        "b.csv": plain,
    }


def test_a_bad_file_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"<html></html>")
    (tmp_path / "late.csv").write_bytes(b"a,b\n" + b"1,2\n" * 400_000 + b"x" * 2_000_000)
    (tmp_path / "good.csv").write_text("a,b\n1,2\n3\n")
    names = [tmp_path / name for name in ("bad.csv", "late.csv", "good.csv")]
    done = run(*names, "--out", tmp_path / "out", "--json")
    bad, late, good = json.loads(done.out)
    assert done.status == 1
    assert (bad["error"]["code"], late["error"]["code"]) == ("not_a_table", "line_too_long")
    assert good["rows"] | {"rows": 2, "short": 1} == good["rows"]
    assert good["layout"]["columns"] == ["a", "b"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.csv"]


def test_hints_and_names(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text("a;b\nc;d\n")
    files = [tmp_path / folder / "x.csv" for folder in ("one", "two")]
    assert run(*files, "--out", tmp_path / "out", "--header-row", "0").status == 0
    written_files = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written_files] == ["x-2.csv", "x.csv"]
    assert {path.read_text() for path in written_files} == {"column 1,column 2\na,b\nc,d\n"}
