"""What becomes of a list's columns: which is the pupil, which gives which field of which record.

A profile has one template a record that each row gives. A list without a profile has one template, whose
columns are the fields of its kind. Everything that a profile leaves out it names, so a column that appears in
a school's export next year is an error and not a leak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cli.headers import SUBJECT_COLUMN, Columns, columns_named, columns_of, fold
from ledger.statute import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A column that gives a field; ``values`` translates its words, ``date`` names the form of its dates."""

    column: str
    values: Mapping[str, str] = field(default_factory=dict)
    date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One record of a row: each of its fields from a column, a constant, or a difference of others."""

    kind: Kind
    columns: Mapping[str, Taken]
    constants: Mapping[str, str] = field(default_factory=dict)
    differences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Field to the fields it is computed of: the first less all others."""
    own: tuple[str, ...] = ()
    """Columns without any of which the row gives no such record (`skip_empty`); empty: it always does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """All that a row gives."""

    templates: tuple[Template, ...]
    subject: str = SUBJECT_COLUMN
    """The column of the pupil's local id; "" where it is the row's number."""
    prefix: str = ""
    """What stands before the row's number to make a local id of it."""
    left_out: tuple[str, ...] = ()

    def columns(self) -> Columns:
        """Return the columns that a list of this profile must have, and those that it may have."""
        named = [taken.column for one in self.templates for taken in one.columns.values()]
        keys = list(dict.fromkeys([*([self.subject] if self.subject else []), *named]))
        known = columns_named([SUBJECT_COLUMN] if SUBJECT_COLUMN in keys else []).keys
        return Columns(
            keys={**known, **{fold(key): key for key in keys}},
            required=tuple(keys),
            left_out=frozenset(map(fold, self.left_out)),
        )


def plain_template(kind: Kind, constants: Mapping[str, str] | None = None) -> Template:
    """Return the template of a list whose columns are the kind's fields."""
    constants = constants or {}
    columns = {name: Taken(column=name) for name in kind.fields if name not in constants}
    return Template(kind=kind, columns=columns, constants=constants)


def plain_columns(template: Template) -> Columns:
    """Return the columns of a list without a profile."""
    return columns_of(template.kind, template.constants)
