"""What can go wrong in the commands themselves, beside what ``ledger`` and ``node`` refuse.

Each is a `LedgerError`, so one table in ``output`` gives it an exit code and one place prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cli.language import say
from ledger.errors import LedgerError, Malformed


class Usage(Malformed):
    """What was typed cannot be done so; the message says what to type instead."""


class Undone(LedgerError):
    """The step that has to come first was not done (no workspace, not connected, nobody enrolled)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellProblem:
    """One thing wrong with a list: where it stands, what stands there, what would be right.

    ``row`` counts as a spreadsheet does: the headers are row 1. It is None for the file as a whole.
    """

    file: str
    row: int | None = None
    column: str = ""
    value: str = ""
    text: str


class ListMalformed(Malformed):
    """A list whose form or columns do not let it be read; ``problems`` has all that is wrong."""

    def __init__(self, problems: Sequence[CellProblem]) -> None:
        """``problems`` is not empty."""
        super().__init__(say("failure.list_malformed", file=problems[0].file))
        self.problems = tuple(problems)


def no_list(file: str, text: str, *, row: int | None = None, value: str = "") -> ListMalformed:
    """Return the error that a whole file is refused with."""
    return ListMalformed([CellProblem(file=file, row=row, value=value, text=text)])


class ProfileMalformed(Malformed):
    """A profile that does not say what to take; ``problems`` has all that is wrong, by path in its TOML."""

    def __init__(self, problems: Sequence[CellProblem]) -> None:
        """``problems`` is not empty."""
        super().__init__(say("failure.profile_malformed", file=problems[0].file))
        self.problems = tuple(problems)


class ListRefused(LedgerError):
    """Rows that must not be recorded; ``problems`` has every one of them, and nothing was written."""

    def __init__(self, problems: Sequence[CellProblem]) -> None:
        """``problems`` is not empty."""
        file, count = problems[0].file, len(problems)
        one = say("failure.list_refused_one", file=file)
        super().__init__(one if count == 1 else say("failure.list_refused", file=file, count=count))
        self.problems = tuple(problems)


class RowsLeftOut(LedgerError):
    """Rows that were not recorded while the others were (``--skip-bad``); a file of their own has them."""

    def __init__(self, problems: Sequence[CellProblem], left_out: int, path: str) -> None:
        """``left_out`` counts the rows, ``path`` is the file that has them."""
        super().__init__(say("failure.rows_left_out", count=left_out, path=path))
        self.problems = tuple(problems)


PROBLEMATIC = (ListMalformed, ListRefused, ProfileMalformed, RowsLeftOut)
"""The errors that carry `CellProblem`s."""
