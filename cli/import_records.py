"""A list into records: every row by every template of its profile.

A row that is wrong in one of its records gives none. A row that repeats another is counted once and said;
rows that contradict each other are all refused. Where a row came from stands in the record as the first half
of the file's SHA-256 and the row: a file's name may be that of a child.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cli.cells import shown_value
from cli.drafts import Draft, Origin, Writer, draft_row
from cli.failures import CellProblem, ListMalformed, Usage
from cli.headers import SUBJECT_COLUMN
from cli.profile import Profile, Template
from cli.table import PROBLEMS_MAX, Row, Table, ordered
from ledger.record import Basis, Record, make_record
from ledger.statute import Kind, Statute

LISTS: Mapping[str, str] = {
    "results": "subject_result",
    "attendance": "attendance_summary",
    "awards": "contest_award",
    "sport": "sport_award",
    "gto": "gto_badge",
    "courses": "supplementary_course",
    "movements": "transfer",
}
"""Names of the schools' lists, and the kind of record that each holds."""

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafts:
    """What a list says: records to make, rows that only repeat (row, row repeated), and all that is wrong."""

    records: tuple[Draft, ...]
    repeated: tuple[tuple[int, int], ...]
    problems: tuple[CellProblem, ...]
    skipped: int = 0
    """Records that were not made because their cells are empty and the profile says so."""


def kind_named(statute: Statute, name: str) -> Kind:
    """Return the kind of a name or of a list (``results``); raise `Usage` naming all that there are."""
    kind = statute.kinds.get(LISTS.get(name, name))
    if kind is None:
        lists = ", ".join(f"{one} ({LISTS[one]})" for one in LISTS)
        raise Usage(
            f"no kind {name!r} on the statutory list; lists: {lists}; kinds: {', '.join(statute.kinds)}"
        )
    return kind


def draft_table(table: Table, profile: Profile, writer: Writer) -> Drafts:
    """Return the drafts of every row of a list."""
    origins = _origins(table, profile)
    drafts: list[Draft] = []
    problems = list(table.problems)
    skipped = 0
    for row in table.rows:
        local_id = row.cells.get(profile.subject, "") if profile.subject else f"{profile.prefix}{row.number}"
        wanted = [one for one in origins if not _is_empty(one[0], row)]
        skipped += len(origins) - len(wanted)
        made = [draft_row(row, local_id, template, writer, origin) for template, origin in wanted]
        if wrong := [problem for one in made if not isinstance(one, Draft) for problem in one]:
            problems += dict.fromkeys(wrong)
        else:
            drafts += (one for one in made if isinstance(one, Draft))
        if len(problems) > PROBLEMS_MAX:
            end = CellProblem(
                file=table.file, row=row.number, text="too many problems: is it the right list?"
            )
            raise ListMalformed([*ordered(problems), end])
    problems += _contradictions(drafts, table.file)
    kept, repeated = _each_once(drafts, {one.row for one in problems})
    return Drafts(
        records=tuple(kept), repeated=tuple(repeated), problems=tuple(ordered(problems)), skipped=skipped
    )


def make_records(drafts: Iterable[Draft], random: RandomBytes) -> list[Record]:
    """Return the records of ``drafts``, each with fresh salts from ``random``."""
    return [
        make_record(
            subject=draft.subject,
            kind=draft.kind,
            period=draft.period,
            fields=dict(draft.fields),
            basis=Basis(act=draft.act),
            salts=(random(16), random(16)),
            source=draft.source,
        )
        for draft in drafts
    ]


def _origins(table: Table, profile: Profile) -> list[tuple[Template, Origin]]:
    """Each template with where its records come from."""
    source = f"list {table.source.digest.hex()[:32]} row "
    subject = {SUBJECT_COLUMN: table.headers[profile.subject]} if profile.subject else {}
    return [
        (
            template,
            Origin(
                file=table.file,
                columns=subject
                | {name: table.headers.get(one.column, name) for name, one in template.columns.items()},
                source=source,
                number=number if len(profile.templates) > 1 else 0,
            ),
        )
        for number, template in enumerate(profile.templates, 1)
    ]


def _is_empty(template: Template, row: Row) -> bool:
    """Whether the profile wants no record of a row whose cells are empty."""
    return bool(template.own) and not any(one in row.cells or one in row.faults for one in template.own)


def _facts(drafts: Sequence[Draft]) -> dict[tuple[bytes, bytes], list[Draft]]:
    """The drafts of one fact each together, in the order of the rows."""
    facts: dict[tuple[bytes, bytes], list[Draft]] = {}
    for number, draft in enumerate(drafts):
        name = draft.identity or number.to_bytes(
            8, "big"
        )  # a kind without identity: each is a fact of its own
        facts.setdefault((draft.subject, name), []).append(draft)
    return facts


def _contradictions(drafts: Sequence[Draft], file: str) -> list[CellProblem]:
    """What rows say that contradict each other: which of them is right is not for the tool to choose."""
    problems: list[CellProblem] = []
    for first, *others in _facts(drafts).values():
        second = next((one for one in others if one.fields != first.fields), None)
        if second is not None:
            problems += _contradiction(first, second, file)
            for one in others:
                problems += _contradiction(one, first if one.fields != first.fields else second, file)
    return problems


def _contradiction(draft: Draft, other: Draft, file: str) -> list[CellProblem]:
    names = sorted(set(draft.fields) | set(other.fields))
    return [
        CellProblem(
            file=file,
            row=draft.row,
            column=draft.columns.get(name, name),
            value=shown_value(str(draft.fields.get(name, ""))),
            text=f"row {other.row} says {other.fields.get(name, 'nothing')} of the same fact: keep one",
        )
        for name in names
        if draft.fields.get(name) != other.fields.get(name)
    ]


def _each_once(
    drafts: Sequence[Draft], refused: set[int | None]
) -> tuple[list[Draft], list[tuple[int, int]]]:
    """The drafts of the rows that are not refused, each fact once, and (row, row that it repeats)."""
    kept: list[Draft] = []
    repeated: list[tuple[int, int]] = []
    for first, *others in _facts([one for one in drafts if one.row not in refused]).values():
        kept.append(first)
        repeated += ((one.row or 0, first.row or 0) for one in others)
    return kept, sorted(set(repeated))
