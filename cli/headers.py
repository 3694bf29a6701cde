"""Names of columns: which field a header stands for, in Russian or English, however it is spaced or cased.

A header is compared folded: ``Учебный год``, ``учебный_год`` and ``УЧЕБНЫЙ-ГОД`` are one. `RUSSIAN` has a
name, or several, for every field of the statutory list that a school writes, and for the columns of a class
list; `ALIASES` has what the schools' own lists call a field of one kind. What a kind does not have is no
column of its list, whatever this table says.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cli.cells import clean
from ledger.statute import Kind

SUBJECT_COLUMN = "local_id"
UNIT_FIELD = "org_id"
REASON_COLUMN = "refused_because"
"""Stands in a file of refused rows, and is passed over when that file, mended, is imported."""

RUSSIAN: Mapping[str, tuple[str, ...]] = {
    SUBJECT_COLUMN: (
        *("личный номер", "личный код", "ид", "ид ученика", "код ученика", "номер ученика"),
        *("ид обучающегося", "код обучающегося", "номер личного дела", "местный номер"),
    ),
    UNIT_FIELD: ("организация", "код организации", "школа", "код школы", "учреждение"),
    # a class list
    "name": ("имя", "фио", "ученик", "обучающийся", "фамилия имя", "фамилия имя отчество"),
    "class": ("класс", "литера", "группа"),
    "class_level": ("параллель", "год обучения"),
    "entry_type": ("вид зачисления", "основание зачисления"),
    "profile": ("профиль", "режим"),
    # marks and attendance
    "school_year": ("учебный год", "год"),
    "term": ("период", "четверть", "триместр", "полугодие"),
    "subject_code": ("предмет", "код предмета"),
    "scale": ("шкала", "система оценивания"),
    "value": ("оценка", "отметка", "балл", "результат"),
    "result_type": ("вид", "вид оценки", "вид результата", "тип оценки"),
    "days_possible": ("учебных дней", "всего дней", "дней"),
    "present": ("присутствовал", "посещено", "посещено дней"),
    "excused": ("по уважительной", "по уважительной причине", "уважительные", "пропуски уваж"),
    "unexcused": ("без уважительной", "без уважительной причины", "неуважительные", "пропуски неуваж"),
    # awards, sport, courses, projects
    "event_code": ("мероприятие", "код мероприятия", "конкурс", "олимпиада"),
    "level": ("уровень", "этап"),
    "status": ("статус", "результат участия", "степень"),
    "document_no": ("номер документа", "№ документа", "номер диплома", "документ"),
    "sport_code": ("спорт", "вид спорта", "код вида спорта"),
    "place": ("место", "занятое место"),
    "stage": ("ступень", "ступень гто", "уровень образования"),
    "badge": ("знак", "знак отличия", "значок"),
    "order_no": ("приказ", "номер приказа", "№ приказа"),
    "provider": ("исполнитель", "организатор", "центр"),
    "programme_code": ("программа", "код программы", "курс"),
    "hours": ("часы", "часов", "количество часов"),
    "completed_on": ("окончен", "дата окончания", "завершен", "дата завершения"),
    "title_code": ("тема", "код темы", "проект"),
    "role_code": ("роль", "код роли"),
    "evidence_hash": ("хеш работы", "хеш файла"),
    "type": ("тип", "тип документа"),
    "registry_ref": ("реестр", "запись реестра"),
    "date": ("дата", "дата события"),
    # movements, consents, requests
    "from_org": ("откуда", "из организации"),
    "to_org": ("куда", "в организацию"),
    "exit_type": ("вид выбытия", "причина выбытия", "тип"),
    "purpose": ("цель",),
    "kinds": ("виды", "виды записей"),
    "recipient": ("получатель",),
    "recipients": ("получатели",),
    "valid_from": ("действует с", "с"),
    "valid_until": ("действует до", "по", "до"),
    "from": ("начало", "с"),
    "until": ("конец", "по", "до"),
    "text_hash": ("хеш документа", "хеш текста"),
    "lang": ("язык",),
    "scope": ("объем", "область"),
    "channel": ("способ", "канал"),
    "shown_on": ("ознакомлен", "дата ознакомления"),
    "received_on": ("получено", "дата получения"),
    "deadline": ("срок",),
    "state": ("состояние",),
    "target": ("запись", "хеш записи"),
    "reason_code": ("причина", "код причины"),
}

ALIASES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "transfer": {"from_org": ("org_from",), "to_org": ("org_to",), "exit_type": ("type",)},
    "consent": {
        "valid_from": ("from",),
        "valid_until": ("until",),
        "text_hash": ("document_hash",),
    },
}

_GAP = re.compile(r"[\s_\-]+")
_NEAR = 0.75
"""How alike two names must be for one to be meant: a letter or two differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a list: folded header to key, the keys that must be there, folded headers left out."""

    keys: Mapping[str, str]
    required: tuple[str, ...]
    left_out: frozenset[str] = frozenset()

    def key_of(self, header: str) -> str | None:
        """Return the key that a header stands for, if it is a column to take."""
        return self.keys.get(fold(header))

    def is_left_out(self, header: str) -> bool:
        """Whether the header is known as one to pass over."""
        folded = fold(header)
        return folded in self.left_out or folded == REASON_COLUMN

    def names(self) -> tuple[str, ...]:
        """The keys, each once."""
        return tuple(dict.fromkeys(self.keys.values()))


def fold(header: str) -> str:
    """Return a header as headers are compared."""
    text = _GAP.sub("_", clean(header).casefold().replace("ё", "е"))
    return text.strip("_:*.")


def columns_named(required: Sequence[str], optional: Sequence[str] = (), *, kind: str = "") -> Columns:
    """Return the columns of a list of these fields, under every name they have."""
    aliases = ALIASES.get(kind, {})
    keys: dict[str, str] = {}
    for key in (*required, *optional):
        for name in (key, *RUSSIAN.get(key, ()), *aliases.get(key, ())):
            keys.setdefault(fold(name), key)
    return Columns(keys=keys | {fold(key): key for key in (*required, *optional)}, required=tuple(required))


def columns_of(kind: Kind, given: Iterable[str] = ()) -> Columns:
    """Return the columns of a kind's list: ``local_id`` and its fields, without those ``given`` otherwise.

    ``org_id`` may be left out: it is then the unit of whoever imports.
    """
    fields = [name for name in kind.fields if name not in set(given)]
    required = [name for name in fields if name in kind.required and name != UNIT_FIELD]
    optional = [name for name in fields if name not in required]
    return columns_named([SUBJECT_COLUMN, *required], optional, kind=kind.name)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is probably meant; "" if none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, _NEAR)), "")
