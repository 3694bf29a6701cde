"""``pledger import`` as typed: profiles, workbooks, refused rows handed back, and what is said aloud."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.hand_back import ERROR_COLUMNS
from ledger.errors import Conflict
from tests.lists import book, book_of_sheet
from tests.staff_side import connected
from tests.test_staff_commands import NOTICE, ROSTER, Desk, script
from tests.world import World

HEAD = "local_id;school_year;term;subject_code;scale;value;result_type\n"
GOOD = "7a-01;2026/2027;q1;ALG;ru5;5;term\n"
BAD = "7a-02;2026/2027;q1;ALG;ru5;=2+3;term\n7a-99;2026/2027;q1;ALG;ru5;4;term\n"
RUSSIAN = (HEAD + GOOD).replace("local_id", "Личный номер").replace("value", "Оценка")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A clerk with two pupils enrolled."""
    world = World()
    made = Desk(world, tmp_path, connected(tmp_path / "home", world))
    made.type("class", "enrol", made.file("roster.csv", ROSTER), *NOTICE, "--offline")
    yield made
    made.foresight.close()


def imported(desk: Desk, path: Path, *words: str | Path, code: int = 0) -> dict[str, Any]:
    return desk.ask("import", path, "--offline", "--yes", *words, code=code)


def book_of_rows_with_formula(rows: list[list[str]]) -> bytes:
    """A workbook in whose third row the mark is a formula, with the 5 that it last gave."""
    body = "".join(
        f'<row r="{number}">' + "".join(f'<c t="str"><v>{cell}</v></c>' for cell in row) + "</row>"
        for number, row in enumerate(rows, 1)
    )
    before, mark, after = body.rpartition("<v>5</v>")
    return book_of_sheet(f"{before}<f>2+3</f>{mark}{after}")


def rows_of(path: Path) -> list[list[str]]:
    text = path.read_bytes().decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text), delimiter=";", strict=True))


# Bad rows.


def test_without_skip_bad_nothing_of_a_list_with_a_bad_row_is_recorded(desk: Desk) -> None:
    """All or nothing, and all that is wrong with it."""
    value = imported(desk, desk.file("r.csv", HEAD + GOOD + BAD), "--kind", "results", code=4)
    assert [(one["row"], one["column"]) for one in value["problems"]] == [(3, "value"), (4, "local_id")]
    assert len(desk.entries()) == 1


def test_skip_bad_records_the_good_rows_and_hands_the_others_back_with_the_reason(desk: Desk) -> None:
    """Exit code 3: something is left to do. The refused rows keep the list's own columns."""
    path = desk.file("r.csv", HEAD + GOOD + BAD)
    value = imported(desk, path, "--kind", "results", "--skip-bad", code=3)
    assert (value["records"], value["waiting"]) == (1, 1)
    refused = Path(value["refused_file"])
    assert refused == path.with_name("r.refused.csv")
    head, first, second = rows_of(refused)
    assert head == ["refused_because", *HEAD.strip().split(";")]
    assert "value: a formula" in first[0] and "local_id: not in the class register" in second[0]
    assert second[1:] == BAD.splitlines()[1].split(";")


def test_no_cell_that_is_handed_back_runs_as_a_formula_and_none_comes_back_as_a_value(desk: Desk) -> None:
    """An apostrophe stands before it in the spreadsheet, and is refused when it comes back."""
    path = desk.file("r.csv", HEAD + GOOD + BAD)
    errors = desk.folder / "errors.csv"
    imported(desk, path, "--kind", "results", "--skip-bad", "--errors", errors, code=3)
    for handed in (errors, path.with_name("r.refused.csv")):
        assert not any(cell.startswith(("=", "@")) for row in rows_of(handed) for cell in row)
    value = imported(desk, path.with_name("r.refused.csv"), "--kind", "results", code=4)
    assert any("a formula" in one["text"] for one in value["problems"])


def test_refused_rows_once_mended_are_imported_as_a_list(desk: Desk) -> None:
    """The column with the reason is passed over."""
    imported(desk, desk.file("r.csv", HEAD + GOOD + BAD), "--kind", "results", "--skip-bad", code=3)
    refused = desk.folder / "r.refused.csv"
    text = (
        refused.read_text("utf-8-sig")
        .replace("'=2+3", "5")
        .replace("7a-99", "7a-01")
        .replace(";ALG;ru5;4", ";RUS;ru5;4")
    )
    refused.write_text(text)
    assert imported(desk, refused, "--kind", "results")["records"] == 2


def test_refused_rows_that_somebody_may_have_mended_are_not_overwritten(desk: Desk) -> None:
    """The second run stops before anything is signed."""
    path = desk.file("r.csv", HEAD + GOOD + BAD)
    imported(desk, path, "--kind", "results", "--skip-bad", code=3)
    before = (desk.folder / "r.refused.csv").read_bytes()
    count = len(desk.entries())
    value = imported(desk, path, "--kind", "results", "--skip-bad", code=4)
    assert value["error"] == Conflict.__name__
    assert (desk.folder / "r.refused.csv").read_bytes() == before
    assert len(desk.entries()) == count


def test_refused_rows_do_not_become_other_pupils_by_their_new_numbers(desk: Desk) -> None:
    """Where the row's number is the pupil, only the list itself may be mended."""
    profile = desk.file("p.toml", 'local_id = { from = "row" }\n[columns]\nvalue = "value"\n')
    path = desk.file("r.refused.csv", "refused_because;value\nx;5\n")
    words = [f"--set={one}" for one in ("school_year=2026/2027", "term=q1", "subject_code=A", "scale=ru5")]
    words += ["--set=result_type=term", "--kind=results", "--profile", str(profile)]
    assert "in the list itself" in imported(desk, path, *words, code=2)["text"]


def test_a_list_in_which_every_row_is_bad_is_refused_as_one(desk: Desk) -> None:
    """There is nothing to record, so there is no file of rest either."""
    imported(desk, desk.file("r.csv", HEAD + BAD), "--kind", "results", "--skip-bad", code=4)
    assert not (desk.folder / "r.refused.csv").exists()


def test_rows_that_contradict_each_other_are_both_handed_back(desk: Desk) -> None:
    """Which mark is right is not chosen by which came first."""
    path = desk.file("r.csv", HEAD + GOOD + GOOD.replace(";5;", ";4;") + GOOD.replace("7a-01", "7a-02"))
    value = imported(desk, path, "--kind", "results", "--skip-bad", code=3)
    assert value["records"] == 1
    assert len(rows_of(desk.folder / "r.refused.csv")) == 3


def test_a_dry_run_says_what_would_be_left_out_and_writes_nothing(desk: Desk) -> None:
    """Neither an entry nor a file."""
    path = desk.file("r.csv", HEAD + GOOD + BAD)
    before = sorted(desk.folder.iterdir())
    value = imported(desk, path, "--kind", "results", "--skip-bad", "--dry-run", code=3)
    assert (value["records"], [one["row"] for one in value["left_out"]]) == (1, [3, 4])
    assert sorted(desk.folder.iterdir()) == before
    assert len(desk.entries()) == 1


# Errors as a list.


def test_errors_are_written_as_a_list_that_a_spreadsheet_opens(desk: Desk) -> None:
    """File, row, column, value, and what would be right; again over its own older one, over no other file."""
    path, errors = desk.file("r.csv", HEAD + GOOD + BAD), desk.folder / "errors.csv"
    for _ in range(2):
        imported(desk, path, "--kind", "results", "--errors", errors, code=4)
    head, first, _ = rows_of(errors)
    assert tuple(head) == ERROR_COLUMNS
    assert first[:4] == ["r.csv", "3", "value", "'=2+3"]
    before = path.read_bytes()
    assert imported(desk, path, "--kind", "results", "--errors", path, code=4)["error"] == "Conflict"
    assert path.read_bytes() == before


def test_unknown_columns_are_written_as_errors_too(desk: Desk) -> None:
    """Whoever exported the list gets them all in one file."""
    errors = desk.folder / "errors.csv"
    path = desk.file("r.csv", HEAD.replace("\n", ";Medu;Fedu\n"))
    imported(desk, path, "--kind", "results", "--errors", errors, code=2)
    assert [row[2] for row in rows_of(errors)[1:]] == ["Medu", "Fedu"]


def test_a_thousand_errors_do_not_fill_the_terminal(desk: Desk) -> None:
    """The table is cut and says so; JSON and the file have all."""
    path = desk.file(
        "r.csv", HEAD + "".join(BAD.splitlines()[1].replace("7a-99", f"x{n}") + "\n" for n in range(1000))
    )
    result = desk.type("import", path, "--kind", "results", "--yes", "--offline", code=4)
    assert "… and 800 more" in result.stderr
    assert len(imported(desk, path, "--kind", "results", code=4)["problems"]) == 1000


# What is said aloud, and other forms.


def test_a_guessed_encoding_is_said_aloud(desk: Desk) -> None:
    """On standard error, with a word to look at; the list is read."""
    path = desk.folder / "r.csv"
    path.write_bytes(RUSSIAN.encode("cp1251"))
    result = desk.type("import", path, "--kind", "results", "--yes", "--offline")
    assert "read as windows-1251" in result.stderr and "Личный" in result.stderr
    assert (
        "windows-1251"
        not in desk.type(
            "import", path, "--kind", "results", "--dry-run", "--encoding", "windows-1251"
        ).stderr
    )


def test_a_workbook_is_imported_and_its_errors_speak_of_its_own_columns(desk: Desk) -> None:
    """The clerk sees the header that he wrote."""
    path = desk.folder / "r.xlsx"
    path.write_bytes(book([row.split(";") for row in RUSSIAN.splitlines()]))
    assert imported(desk, path, "--kind", "results")["records"] == 1
    path.write_bytes(book([row.split(";") for row in RUSSIAN.replace(";5;", ";9;").splitlines()]))
    [problem] = imported(desk, path, "--kind", "results", code=4)["problems"]
    assert (problem["column"], problem["value"]) == ("Оценка", "9")


def test_the_last_result_of_a_formula_does_not_come_back_as_a_value(desk: Desk) -> None:
    """The refused row has an empty cell where the sheet had a formula, and is refused again as it is."""
    path = desk.folder / "r.xlsx"
    rows = [row.split(";") for row in (HEAD + GOOD + GOOD.replace("7a-01", "7a-02")).splitlines()]
    path.write_bytes(book_of_rows_with_formula(rows))
    imported(desk, path, "--kind", "results", "--skip-bad", code=3)
    refused = desk.folder / "r.refused.csv"
    assert rows_of(refused)[1][6] == ""
    assert "missing" in imported(desk, refused, "--kind", "results", code=4)["problems"][0]["text"]


def test_a_class_list_may_be_a_workbook_with_russian_headers(desk: Desk) -> None:
    """The same reader reads it."""
    path = desk.folder / "class.xlsx"
    head = ["Личный номер", "ФИО", "Уровень образования", "Параллель", "Вид зачисления", "Дата", "Класс"]
    path.write_bytes(book([head, ["7a-03", "Придумов Елисей", "basic", 7, "new", "01.09.2026", "7а"]]))
    assert desk.ask("class", "enrol", path, *NOTICE, "--offline")["enrolled"] == 1


def test_what_every_row_says_is_typed_once(desk: Desk) -> None:
    """--set in the place of a column; a column beside it is an error, and so is a value out of the list."""
    path = desk.file("r.csv", "local_id;subject_code;value\n7a-01;ALG;5\n")
    words = ["--kind=results", "--set=school_year=2026/2027", "--set=scale=ru5", "--set=result_type=term"]
    assert imported(desk, path, *words, "--set=term=q1")["records"] == 1
    imported(desk, path, *words, "--set=term=q9", code=2)
    imported(desk, path, *words, "--set=term=q1", "--set=value=5", code=2)


def test_without_kind_and_profile_the_message_says_what_to_type(desk: Desk) -> None:
    """The three ways on."""
    text = imported(desk, desk.file("r.csv", HEAD), code=2)["text"]
    assert all(word in text for word in ("--kind", "--profile", "--suggest"))


def test_suggest_writes_a_profile_that_imports_the_list(desk: Desk) -> None:
    """One command writes it, the next takes it; it is never overwritten, and needs no passphrase."""
    path = desk.file("r.csv", RUSSIAN)
    written = Path(desk.ask("import", "--suggest", path)["profile"])
    assert written == path.with_suffix(".toml")
    assert imported(desk, path, "--profile", written)["records"] == 1
    desk.type("import", "--suggest", path, code=4)


def test_a_slip_in_a_profile_is_shown_as_a_table(desk: Desk) -> None:
    """With its path in the TOML."""
    profile = desk.file("p.toml", "lft_out = []\n")
    result = desk.type(
        "import", desk.file("r.csv", RUSSIAN), "--profile", profile, "--kind", "results", code=2
    )
    assert "lft_out" in result.stderr and "is left_out meant?" in result.stderr


def test_a_list_by_profile_twice_is_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record of each row is known again, though a row gives several."""
    profile = desk.file(
        "p.toml",
        '[constants]\nschool_year = "2026/2027"\nscale = "ru5"\nresult_type = "term"\nsubject_code = "ALG"\n'
        + "".join(
            f'[[records]]\nkind = "subject_result"\ncolumns = {{ Q{n} = "value" }}\n'
            f'constants = {{ term = "q{n}" }}\n'
            for n in (1, 2)
        ),
    )
    path = desk.file("r.csv", "local_id;Q1;Q2\n7a-01;5;4\n")
    script(monkeypatch, desk, "accept", "accept")
    assert desk.ask("import", path, "--profile", profile, "--yes")["recorded"] == 2
    node = script(monkeypatch, desk)
    value = desk.ask("import", path, "--profile", profile, "--yes")
    assert (value["already_recorded"], value["recorded"], node.got) == (2, 0, [])


# Size.


def test_200_megabytes_are_refused_at_once(desk: Desk) -> None:
    """A file that is no list is not read to its end."""
    path = desk.folder / "big.csv"
    with path.open("wb") as stream:
        stream.write((HEAD + GOOD).encode())
        stream.truncate(200_000_000)
    start = time.monotonic()
    assert "larger than" in json.dumps(imported(desk, path, "--kind", "results", code=2))
    assert time.monotonic() - start < 10


def test_ten_thousand_rows_take_seconds(desk: Desk) -> None:
    """Read, judged, signed and kept; most of them in a workbook too."""
    rows = [f"7a-0{n % 2 + 1};2026/2027;q1;S-{n};ru5;5;term" for n in range(10_000)]
    path = desk.file("r.csv", HEAD + "\n".join(rows) + "\n")
    start = time.monotonic()
    assert imported(desk, path, "--kind", "results")["waiting"] == 10_000
    sheet = desk.folder / "r.xlsx"
    sheet.write_bytes(book([HEAD.strip().split(";"), *(row.split(";") for row in rows)]))
    assert imported(desk, sheet, "--kind", "results", "--dry-run")["records"] == 10_000
    assert time.monotonic() - start < 60
