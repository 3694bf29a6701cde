"""A profile as it is written: TOML, checked whole, so that a slip in it is told before any row is read.

::

    local_id = "Личный номер"                        # the column; or { from = "row", prefix = "por-" }
    left_out = ["Телефон", "Адрес"]                  # every column that is not taken

    [constants]                                      # what every row says; shared by the records below
    school_year = "2026/2027"

    [columns]                                        # column = field; shared as well
    "Дата" = { field = "date", date = "DD/MM/YYYY" }
    "Итог" = { field = "value", values = { "отл" = "5", "хор" = "4" } }

    [[records]]                                      # one for each record that a row gives
    kind = "subject_result"                          # may be left out where --kind says it
    skip_empty = true                                # no record where its own columns are all empty
    columns = { G1 = "value" }
    constants = { term = "t1" }
    differences = { present = ["days_possible", "excused", "unexcused"] }   # the first less the others

A profile without ``[[records]]`` makes one record of ``--kind``. Without a prefix the number of a row follows
the name of its file, because rows of two lists are two pupils.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from cli.cells import clean, shown_value
from cli.failures import CellProblem, ProfileMalformed
from cli.headers import SUBJECT_COLUMN, UNIT_FIELD, fold, nearest
from cli.profile import Profile, Taken, Template
from cli.values import DATE_FORMS, value_of
from ledger.statute import Kind, Statute, check_fields

PROFILE_BYTES_MAX = 256 * 1024
"""A hundred columns with their words are a tenth of it."""
WHOLE_MAX = 10**15
"""Beyond every number of the statutory list."""
RECORDS_MAX = 50
"""Records of one row: a class's subjects and terms side by side."""

_TOP = ("local_id", "left_out", "constants", "columns", "records")
_RECORD = ("kind", "skip_empty", "columns", "constants", "differences")
_TAKEN = ("field", "values", "date")
_ROW = ("from", "prefix")


def parse_profile(
    data: bytes, file: str, statute: Statute, *, kind: Kind | None, given: Mapping[str, str], list_name: str
) -> Profile:
    """Return the profile in ``data``; raise `ProfileMalformed` with everything that is wrong with it.

    ``kind`` is that of ``--kind``, ``given`` what ``--set`` says of every row, ``list_name`` the list's file.
    """
    reader = _Reader(file, statute, kind, given)
    profile = reader.read(_toml(data, file), PurePath(list_name).stem)
    if reader.problems:
        raise ProfileMalformed(reader.problems)
    return profile


def constant_faults(constants: Mapping[str, str], kind: Kind) -> list[tuple[str, str]]:
    """Return (field, what is wrong with its value) for what every row says of a kind."""
    faults = []
    for name in constants.keys() & set(kind.fields):
        value, fault = value_of(constants[name], kind.schema["properties"][name])
        wrong = [text for place, text in check_fields(kind, {name: value}) if place.startswith(name)]
        if fault or wrong:
            faults.append((name, fault or wrong[0]))
    return sorted(faults)


def _toml(data: bytes, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise ProfileMalformed([CellProblem(file=file, text=f"no TOML: {error}")]) from None


class _Reader:
    """Reads a profile's members, and remembers what is wrong with them by their path."""

    def __init__(self, file: str, statute: Statute, kind: Kind | None, given: Mapping[str, str]) -> None:
        self.problems: list[CellProblem] = []
        self._file, self._statute, self._kind, self._given = file, statute, kind, given

    def read(self, top: Mapping[str, Any], stem: str) -> Profile:
        self._known(top, _TOP, "")
        left_out = self._texts(top.get("left_out", []), "left_out")
        subject, prefix = self._subject(top.get("local_id", SUBJECT_COLUMN), stem)
        shared = self._columns(top.get("columns", {}), "columns")
        constants = self._constants(top.get("constants", {}), "constants")
        for name in shared.keys() & constants.keys():
            self._wrong(f"constants.{name}", "given by a column as well: leave one out", name)
        records = self._records(top.get("records", [{}]))
        templates = [self._template(one, path, shared, constants) for one, path in records]
        made = [one for one in templates if one is not None]
        self._unused("columns", shared, made)
        self._unused("constants", constants, made)
        self._unused("--set", self._given, made)
        profile = Profile(templates=tuple(made), subject=subject, prefix=prefix, left_out=tuple(left_out))
        self._taken_and_left_out(profile)
        return profile

    def _wrong(self, path: str, text: str, value: object = "") -> None:
        self.problems.append(
            CellProblem(
                file=self._file,
                column=path,
                value=shown_value(value) if isinstance(value, str) else "",
                text=text,
            )
        )

    def _known(self, members: Mapping[str, Any], known: Iterable[str], path: str) -> None:
        known = list(known)
        for name in members:
            if name not in known:
                near = nearest(name, known)
                hint = f"is {near} meant?" if near else f"known are {', '.join(known)}"
                self._wrong(f"{path}{name}", f"unknown key; {hint}")

    def _map(self, value: object, path: str) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self._wrong(path, "must be a table of names and what they mean", value)
        return {}

    def _texts(self, value: object, path: str) -> list[str]:
        if isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value):
            return [clean(one) for one in value]
        self._wrong(path, 'must be a list of texts, such as ["Адрес"]', value)
        return []

    def _text(self, value: object, path: str) -> str:
        match value:
            case str() if clean(value):
                return clean(value)
            case int() if not isinstance(value, bool) and abs(value) < WHOLE_MAX:
                return str(value)
            case datetime.date() if not isinstance(value, datetime.datetime):
                return value.isoformat()
            case _:
                self._wrong(path, "must be a text", value)
                return ""

    def _subject(self, value: object, stem: str) -> tuple[str, str]:
        if isinstance(value, str):
            return self._text(value, "local_id"), ""
        members = self._map(value, "local_id")
        self._known(members, _ROW, "local_id.")
        if members.get("from") != "row":
            self._wrong("local_id.from", 'must be "row"; a column is named as local_id = "NAME"')
        return "", self._text(members.get("prefix", f"{stem}-"), "local_id.prefix")

    def _columns(self, value: object, path: str) -> dict[str, Taken]:
        """Field to the column that gives it."""
        taken: dict[str, Taken] = {}
        for column, what in self._map(value, path).items():
            place = f"{path}.{column}"
            members = {"field": what} if isinstance(what, str) else self._map(what, place)
            self._known(members, _TAKEN, f"{place}.")
            name = self._text(members.get("field", ""), f"{place}.field")
            if name in taken:
                self._wrong(place, f"{name} comes from two columns: name one", name)
            date = members.get("date", "")
            if date not in ("", *DATE_FORMS):
                self._wrong(f"{place}.date", f"must be one of {', '.join(DATE_FORMS)}", date)
                date = ""
            values = self._map(members.get("values", {}), f"{place}.values")
            words = {clean(word): self._text(one, f"{place}.values.{word}") for word, one in values.items()}
            if not clean(column):
                self._wrong(place, "a column needs a name")
            taken[name] = Taken(column=clean(column), values=words, date=date)
        return taken

    def _constants(self, value: object, path: str) -> dict[str, str]:
        return {name: self._text(one, f"{path}.{name}") for name, one in self._map(value, path).items()}

    def _records(self, value: object) -> list[tuple[Mapping[str, Any], str]]:
        if not isinstance(value, list) or not 0 < len(value) <= RECORDS_MAX:
            self._wrong("records", f"must be 1 to {RECORDS_MAX} tables, each under [[records]]")
            return []
        paths = [f"records[{number}]" for number in range(1, len(value) + 1)]
        return [(self._map(one, path), path) for one, path in zip(value, paths, strict=True)]

    def _template(
        self, members: Mapping[str, Any], path: str, shared: Mapping[str, Taken], constants: Mapping[str, str]
    ) -> Template | None:
        self._known(members, _RECORD, f"{path}.")
        kind = self._kind_of(members.get("kind"), path)
        if kind is None:
            return None
        own = self._columns(members.get("columns", {}), f"{path}.columns")
        fixed = self._constants(members.get("constants", {}), f"{path}.constants")
        differences = self._differences(members.get("differences", {}), kind, f"{path}.differences")
        self._fields([*own, *fixed, *differences], kind, path)
        for name in shared.keys() | constants.keys():
            if name in kind.fields and name not in (*own, *fixed, *differences):
                own |= {name: shared[name]} if name in shared else {}
                fixed |= {name: constants[name]} if name in constants and name not in shared else {}
        return self._complete(members, path, kind, own, fixed, differences)

    def _complete(
        self,
        members: Mapping[str, Any],
        path: str,
        kind: Kind,
        columns: dict[str, Taken],
        constants: dict[str, str],
        differences: dict[str, tuple[str, ...]],
    ) -> Template:
        """The template with what ``--set`` adds, and nothing missing or said twice."""
        for name, text in self._given.items():
            if name in (*columns, *constants, *differences):
                self._wrong(
                    f"{path}.{name}", f"given by the profile and by --set {name}={text}: leave one out"
                )
            elif name in kind.fields:
                constants[name] = text
        self._values(constants, kind, path)
        for name in kind.required:
            if name not in (*columns, *constants, *differences, UNIT_FIELD):
                hint = f"name a column or a constant for it, or type --set {name}=VALUE"
                self._wrong(f"{path}.{name}", f"nothing gives this field of {kind.name}: {hint}")
        skips = members.get("skip_empty", False)
        if not isinstance(skips, bool):
            self._wrong(f"{path}.skip_empty", "must be true or false", skips)
        names = self._map(members.get("columns", {}), path) if skips else {}
        return Template(
            kind=kind,
            columns=columns,
            constants=constants,
            differences=differences,
            own=tuple(map(clean, names)),
        )

    def _kind_of(self, name: object, path: str) -> Kind | None:
        if name is None and self._kind is not None:
            return self._kind
        kind = self._statute.kinds.get(name) if isinstance(name, str) else None
        if kind is None:
            near = nearest(str(name), self._statute.kinds)
            hint = f"is {near} meant?" if near else f"known are {', '.join(self._statute.kinds)}"
            text = "names no kind, and there is no --kind" if name is None else f"no kind of the list; {hint}"
            self._wrong(f"{path}.kind", text, name or "")
        elif self._kind is not None and kind.name != self._kind.name:
            self._wrong(f"{path}.kind", f"the profile makes {kind.name}, --kind says {self._kind.name}", name)
        return kind

    def _fields(self, names: list[str], kind: Kind, path: str) -> None:
        for name in dict.fromkeys(names):
            if name not in kind.fields:
                near = nearest(name, kind.fields)
                hint = f"is {near} meant?" if near else f"it has {', '.join(kind.fields)}"
                self._wrong(f"{path}.{name}", f"no field of {kind.name}; {hint}", name)
            elif names.count(name) > 1:
                self._wrong(f"{path}.{name}", "given twice: by a column, a constant or a difference", name)

    def _differences(self, value: object, kind: Kind, path: str) -> dict[str, tuple[str, ...]]:
        found = {}
        for name, parts in self._map(value, path).items():
            fields = self._texts(parts, f"{path}.{name}")
            if len(fields) < 2 or not {name, *fields} <= set(kind.integers) or name in fields:
                whole = ", ".join(kind.integers) or "none"
                self._wrong(
                    f"{path}.{name}", f"must be whole-number fields of {kind.name} ({whole}), two or more"
                )
            else:
                found[name] = tuple(fields)
        return found

    def _values(self, constants: Mapping[str, str], kind: Kind, path: str) -> None:
        for name, fault in constant_faults(constants, kind):
            self._wrong(f"{path}.constants.{name}", fault, constants[name])

    def _unused(self, path: str, names: Iterable[str], templates: list[Template]) -> None:
        for name in names:
            if templates and not any(name in one.kind.fields for one in templates):
                kinds = ", ".join(dict.fromkeys(one.kind.name for one in templates))
                self._wrong(f"{path}.{name}" if path != "--set" else path, f"no field of {kinds}", name)

    def _taken_and_left_out(self, profile: Profile) -> None:
        left_out = set(map(fold, profile.left_out))
        for key in profile.columns().required:
            if fold(key) in left_out:
                self._wrong(f"left_out.{key}", "taken and left out: name it once", key)
