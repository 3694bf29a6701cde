"""What goes back to whoever made a list: the errors, and the refused rows with the reason in a column.

Both are CSV as spreadsheets open it by a double click (UTF-8 with its mark, semicolons), and no cell of
theirs can run there as a formula. A file of refused rows has the list's own columns, so it is mended and
imported as the list was; `refused_because` comes first, because rows may be longer than the headers. What
somebody may have mended already is never overwritten.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from cli.cells import harmless
from cli.delimited import Line
from cli.failures import CellProblem
from cli.headers import REASON_COLUMN, fold
from cli.heard import translated
from cli.table import Table
from ledger.errors import Conflict
from node.durable_file import create_file, disk_errors, replace_file

ERROR_COLUMNS = ("file", "row", "column", "value", "what is wrong, and what would be right")
_MARK = "\ufeff"


def write_errors(path: Path, problems: Iterable[CellProblem]) -> None:
    """Write the errors of a list; raise `Conflict` if ``path`` is another file than such a one."""
    rows = [
        [one.file, "" if one.row is None else str(one.row), one.column, one.value, translated(one.text)]
        for one in problems
    ]
    data = _csv([ERROR_COLUMNS, *rows])
    if not path.exists():
        create_file(path, data)
        return
    start = _csv([ERROR_COLUMNS])
    with disk_errors(path), path.open("rb") as stream:
        if stream.read(len(start)) != start:
            raise Conflict(f"{path} is no list of errors and is not overwritten: choose another name")
    replace_file(path, data)


def refused_path(path: Path) -> Path:
    """Return where the refused rows of a list go; raise `Conflict` if there are some already."""
    refused = path.with_name(f"{path.stem}.refused.csv")
    if refused.exists():
        raise Conflict(f"{refused} exists already, maybe with rows that were mended: move it away first")
    return refused


def write_refused(path: Path, table: Table, problems: Iterable[CellProblem]) -> int:
    """Write the rows that ``problems`` speak of, as the list has them; return how many there are."""
    reasons = defaultdict[int, list[str]](list)
    for one in problems:
        text = translated(one.text)
        reasons[one.row or 0].append(f"{one.column}: {text}" if one.column else text)
    own = [place for place, name in enumerate(table.header.cells) if fold(name) == REASON_COLUMN]
    rows = [
        [" | ".join(reasons[line.number]), *_without(_standing(line), own)]
        for line in table.lines()
        if line.number in reasons
    ]
    create_file(path, _csv([[REASON_COLUMN, *_without(table.header.cells, own)], *rows]))
    return len(rows)


def _standing(line: Line) -> list[str]:
    """The cells of a row; a formula's last result is not one of them, or it would come back as a value."""
    return ["" if place in line.faults else cell for place, cell in enumerate(line.cells)]


def _without(cells: Sequence[str], places: Sequence[int]) -> list[str]:
    """The cells of a row without an older reason."""
    return [cell for place, cell in enumerate(cells) if place not in places]


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, delimiter=";").writerows([harmless(cell) for cell in row] for row in rows)
    return (_MARK + stream.getvalue()).encode()
