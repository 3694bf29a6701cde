"""The words that are closed in code: roles, purposes, and what no signature can add to the list.

A statutory list may use fewer of these, never others. They stand here and not only in the list because the
list is changed by a quorum of agencies, and families were promised these whatever agencies agree on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ledger.errors import Malformed
from ledger.json_form import Json, shown, take_distinct, take_list

Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""(role, purpose) pairs."""

PURPOSES = (
    "teaching",
    "portfolio",
    "certification",
    "transfer_of_school",
    "olympiad_registration",
    "admission",
    "scholarship",
    "sport_registration",
    "inspection",
)
"""Why anyone may read or write."""

FORBIDDEN_PURPOSES = ("profiling", "rating", "training", "advertising")
"""Refused by name, also as part of one (``ai_training``)."""

OUTSIDE_ROLES = ("guardian", "pupil", "auditor")
"""Who reads but never writes a private record."""

KEY_ROLES = ("registrar", "root")
"""Agency keys that author governance only."""

ROLES = (
    "class_teacher",
    "subject_teacher",
    "clerk",
    "deputy_head",
    "coach",
    "course_teacher",
    "examiner",
    "break_glass",
    "desk",
    *KEY_ROLES,
    *OUTSIDE_ROLES,
)

FAMILY_ROLES = ("guardian", "pupil")
"""Both read every kind: an official never sees more than the family."""

BASES = ("law", "notice", "consent")
"""``law``: cannot be declined. ``notice``: unless declined. ``consent``: while one is in force."""

MISFILED = "misfiled"
"""The wrong child: taking a record back for this reason also erases its body at once."""

WITHDRAWAL_REASONS = ("entered_in_error", MISFILED, "decision_changed", "court")
"""Why a record may be taken back."""

RESERVED_KINDS = (
    "agency.card",
    "roster.adopt",
    "staff.grant",
    "staff.revoke",
    "log.reconcile",
    "erasure",
    "padding",
)
"""Public governance kinds and padding: a private kind of that name would make a body ambiguous."""

FORBIDDEN_WORDS = frozenset(
    {
        # who somebody is, and how to reach them
        *("name", "surname", "patronymic", "fio", "birth", "birthday", "age", "sex", "gender"),
        *("snils", "passport"),
        *("address", "phone", "telephone", "email", "contact", "contacts", "messenger"),
        *("photo", "image", "video", "biometrics"),
        # what is nobody's business here
        *("health", "diagnosis", "medical", "military", "religion", "nationality", "ethnicity"),
        *("behaviour", "conduct", "psychology", "income", "meals"),
        *("relative", "relatives", "parent", "parents", "mother", "father", "sibling", "teacher", "teachers"),
        # free text, judgement, inference
        *("comment", "comments", "remark", "message", "rating", "rank", "ranking", "percentile", "score"),
        *("average", "mean", "derived", "prediction"),
        # traces and secrets
        *("clickstream", "click", "ip", "minute", "second", "timestamp", "salt", "secret", "password"),
    }
)
"""No word of a kind's or field's name (``mother_job``, ``school_rating``), whatever a quorum signs."""


def check_words(name: str, path: str) -> None:
    """Raise `Malformed` if a word of ``name`` can be neither a kind nor a field."""
    words = FORBIDDEN_WORDS.intersection(name.split("_"))
    if words:
        found = ", ".join(sorted(words))
        raise Malformed(f"{path}: {found} can be neither a kind nor a field, whoever signs it")


def take_purposes(value: Json, path: str) -> tuple[str, ...]:
    """Return a list of purposes out of `PURPOSES`, none twice."""
    return tuple(take_purpose(item, path, PURPOSES) for item in take_distinct(value, path))


def take_purpose(value: Json, path: str, known: Sequence[str]) -> str:
    """Return one of the ``known`` purposes."""
    if type(value) is str and any(word in value for word in FORBIDDEN_PURPOSES):
        raise Malformed(f"{path}: purpose {shown(value)} is refused, whoever signs it")
    if type(value) is not str or value not in known:
        raise Malformed(f"{path}: unknown purpose {shown(value)}; known are {', '.join(known)}")
    return value


def take_role(value: Json, path: str, known: Sequence[str]) -> str:
    """Return one of the ``known`` roles."""
    if type(value) is not str or value not in known:
        raise Malformed(f"{path}: unknown role {shown(value)}; known are {', '.join(known)}")
    return value


def take_writers(value: Json, path: str, roles: Sequence[str], purposes: Sequence[str]) -> Pairs:
    """Return (role, purpose) pairs of staff and the desk: nobody else writes private records."""
    pairs = _take_pairs(value, path, roles, purposes)
    for role, _ in pairs:
        if role in OUTSIDE_ROLES or role in KEY_ROLES:
            raise Malformed(f"{path}: {role} cannot write private records, only staff and the desk can")
    return pairs


def take_readers(value: Json, path: str, roles: Sequence[str], purposes: Sequence[str]) -> Pairs:
    """Return (role, purpose) pairs, the whole family among them."""
    pairs = _take_pairs(value, path, roles, purposes)
    for role in FAMILY_ROLES:
        if role not in dict(pairs):
            raise Malformed(f"{path}: {role} must be among them, the family reads every kind")
    return pairs


def _take_pairs(value: Json, path: str, roles: Sequence[str], purposes: Sequence[str]) -> Pairs:
    pairs = []
    for index, pair in enumerate(take_distinct(value, path)):
        place = f"{path}[{index}]"
        if len(take_list(pair, place)) != 2:
            raise Malformed(f"{place}: must be a role and a purpose")
        pairs.append((take_role(pair[0], place, roles), take_purpose(pair[1], place, purposes)))
    return tuple(pairs)
