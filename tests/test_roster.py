"""ledger.roster: one form of a version, and who must sign the next one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import note
from ledger.errors import LedgerError, Malformed, Unproven
from ledger.names import Head
from ledger.roster import (
    ROSTER_BYTES_MAX,
    Ends,
    Roster,
    check_chain,
    check_first,
    check_next,
    format_roster,
    parse_roster,
    quorum_of,
    roster_hash,
    signing_text,
)
from ledger.statute import default_statute_json
from tests.spoiled import extended, truncated
from tests.world import World, key, seed

END = Ends(head=Head(1, 7, seed("root")), next_era=2)


def small_statute() -> dict[str, Any]:
    """One kind of the default list: a roster of 3 kB."""
    statute = default_statute_json()
    statute["kinds"] = {"notice": statute["kinds"]["notice"]}
    return statute


def names(count: int) -> list[str]:
    """Agencies a1, a2, ..."""
    return [f"a{number}" for number in range(1, count + 1)]


def roster(ids: list[str], *, follows: Roster | None = None, **changes: Any) -> Roster:
    """A version with these agencies after ``follows``."""
    fields: dict[str, Any] = {
        "ledger": "test",
        "agencies": {name: key(f"{name} root").public_key for name in ids},
        "statute": small_statute(),
        "recovery_key": key("recovery").public_key if len(ids) < 3 else None,
    }
    if follows is not None:
        fields |= {"version": follows.version + 1, "before": follows.hash}
    return parse_roster(format_roster(**(fields | changes)))


def sign(version: Roster, signers: list[str], text: str | None = None) -> bytes:
    """A signed note over a version by root keys (a1, ...) and ``recovery``."""
    text = text or signing_text(version)
    lines = []
    for signer in signers:
        path, secret = (
            ("test/recovery", "recovery") if signer == "recovery" else (f"test/{signer}/root", None)
        )
        lines.append(note.sign_note(text, path, key(secret or f"{signer} root")))
    return note.format_note(text, lines)


def is_enough(before: Roster, after: Roster, signers: list[str]) -> bool:
    """Whether these signatures make ``after`` the next version."""
    try:
        check_next(before, after, sign(after, signers))
    except Unproven:
        return False
    return True


def sunset(count: int) -> tuple[Roster, Roster]:
    """Any change that is neither a drop nor a change of one key."""
    first = roster(names(count))
    return first, roster(names(count), follows=first, sunset=30_000)


def drop(count: int) -> tuple[Roster, Roster]:
    """A version that only drops the last agency."""
    first = roster(names(count))
    return first, roster(names(count - 1), follows=first, ends={f"a{count}": END})


def rekey(count: int, **changes: Any) -> tuple[Roster, Roster]:
    """A version that only changes the last agency's root key."""
    first = roster(names(count))
    agencies = {name: key(f"{name} root").public_key for name in names(count)}
    agencies[f"a{count}"] = key("new root").public_key
    return first, roster(names(count), follows=first, agencies=agencies, ends={f"a{count}": END}, **changes)


def rekey_and_sunset(count: int) -> tuple[Roster, Roster]:
    """A key change with something else beside it: no exception any more."""
    return rekey(count, sunset=30_000)


Change = Callable[[int], tuple[Roster, Roster]]

VECTORS: list[tuple[Change, int, list[str], bool]] = [
    # n = 1: one of the two keys
    (sunset, 1, ["a1"], True),
    (sunset, 1, ["recovery"], True),
    (rekey, 1, ["a1"], True),
    (rekey, 1, ["recovery"], True),
    (rekey_and_sunset, 1, ["a1"], True),
    # n = 2: two of the three; a drop or key change the two others
    (sunset, 2, ["a1"], False),
    (sunset, 2, ["recovery"], False),
    (sunset, 2, ["a1", "a2"], True),
    (sunset, 2, ["a2", "recovery"], True),
    (drop, 2, ["a1"], False),
    (drop, 2, ["a1", "a2"], False),
    (drop, 2, ["a2", "recovery"], False),
    (drop, 2, ["a1", "recovery"], True),
    (rekey, 2, ["a1", "a2"], False),
    (rekey, 2, ["a1", "recovery"], True),
    (rekey_and_sunset, 2, ["a1", "a2"], True),
    # n = 3: q = 3; the others 2
    (sunset, 3, ["a1", "a2"], False),
    (sunset, 3, ["a1", "a2", "a3"], True),
    (drop, 3, ["a1"], False),
    (drop, 3, ["a1", "a2"], True),
    (drop, 3, ["a1", "a3"], False),
    (drop, 3, ["a1", "recovery"], False),
    (rekey, 3, ["a1", "a2"], True),
    (rekey, 3, ["a2", "a3"], False),
    (rekey_and_sunset, 3, ["a1", "a2"], False),
    # n = 4: q = 3; the others 3
    (sunset, 4, ["a1", "a4"], False),
    (sunset, 4, ["a1", "a2", "a4"], True),
    (drop, 4, ["a1", "a2"], False),
    (drop, 4, ["a1", "a2", "a4"], False),
    (drop, 4, ["a1", "a2", "a3"], True),
    (rekey_and_sunset, 4, ["a1", "a2", "a4"], True),
    # n = 7: q = 5; the others 5
    (sunset, 7, ["a1", "a2", "a3", "a7"], False),
    (sunset, 7, ["a1", "a2", "a3", "a4", "a7"], True),
    (drop, 7, ["a1", "a2", "a3", "a4"], False),
    (drop, 7, ["a1", "a2", "a3", "a4", "a7"], False),
    (drop, 7, ["a1", "a2", "a3", "a4", "a5"], True),
    (rekey, 7, ["a1", "a2", "a3", "a4", "a6"], True),
]


@pytest.mark.parametrize(("change", "count", "signers", "expected"), VECTORS)
def test_who_must_sign(change: Change, count: int, signers: list[str], expected: bool) -> None:
    """The table of DESIGN's quorums, line by line."""
    before, after = change(count)
    assert is_enough(before, after, signers) is expected


def test_quorums() -> None:
    """floor(2n/3)+1."""
    assert [quorum_of(n) for n in (1, 2, 3, 4, 5, 6, 7, 89)] == [1, 2, 3, 3, 4, 5, 5, 60]


def test_a_drop_with_a_key_change_is_no_exception() -> None:
    """Two agencies changed at once need the ordinary quorum."""
    first = roster(names(4))
    agencies = {"a1": key("a1 root").public_key, "a2": key("a2 root").public_key}
    agencies["a3"] = key("new").public_key
    after = roster(names(3), follows=first, agencies=agencies, ends={"a3": END, "a4": END})
    assert not is_enough(first, after, ["a1", "a2"])
    assert is_enough(first, after, ["a1", "a2", "a3"])
    assert is_enough(first, after, ["a1", "a3", "a4"])


def test_one_key_signing_twice_counts_once() -> None:
    """Copies of a line make no quorum."""
    before, after = sunset(3)
    assert not is_enough(before, after, ["a1", "a1", "a2", "a2"])


def test_a_newcomer_does_not_vote_on_itself() -> None:
    """Only keys of the version before count."""
    first = roster(names(3))
    after = roster(names(4), follows=first)
    assert not is_enough(first, after, ["a1", "a2", "a4"])
    assert is_enough(first, after, ["a1", "a2", "a3"])


def test_a_ledger_is_founded_by_all_its_root_keys() -> None:
    """Version 1 has no one before it to trust."""
    for count in (1, 2, 3, 4):
        first = roster(names(count))
        check_first(first, sign(first, names(count)))
        others = [*names(count)[1:], "recovery" if count < 3 else "stranger"]
        with pytest.raises(Unproven):
            check_first(first, sign(first, others))


def test_a_later_version_founds_nothing() -> None:
    """Its hash is no ledger id."""
    _, after = sunset(3)
    with pytest.raises(Unproven):
        check_first(after, sign(after, names(3)))


@pytest.mark.parametrize(
    "text",
    [
        "test/roster\n2\n{other}\n",
        "test/roster\n3\n{hash}\n",
        "other/roster\n2\n{hash}\n",
        "test/roster\n2\n{hash}\n\n",
        "test/roster\n2\n{hash}\nand more\n",
    ],
)
def test_a_version_signed_over_other_bytes(text: str) -> None:
    """Signatures count for exactly the text of this version."""
    before, after = sunset(3)
    signed = text.format(
        hash=base64.b64encode(after.hash).decode(), other=base64.b64encode(before.hash).decode()
    )
    with pytest.raises(LedgerError):
        check_next(before, after, sign(after, names(3), signed))


def test_signatures_of_another_version_do_not_count() -> None:
    """A signed sunset is no signature under a drop."""
    before, later = sunset(4)
    _, after = drop(4)
    with pytest.raises(Unproven):
        check_next(before, after, sign(later, names(4)))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"version": 1, "before": None},
        {"before": seed("another version")},
        {"ledger": "other"},
    ],
)
def test_a_version_that_does_not_follow(changes: dict[str, Any]) -> None:
    """No version is skipped, no other history or ledger grafted on."""
    first = roster(names(3))
    after = roster(names(3), follows=first, **changes)
    text = sign(after, names(3))
    with pytest.raises(Unproven, match="does not follow"):
        check_next(first, after, text)


@pytest.mark.parametrize("ends", [{}, {"a2": END}, {"a4": END, "a1": END}, {"a4": END, "a9": END}])
def test_ends_are_stated_for_exactly_those_that_end(ends: dict[str, Ends]) -> None:
    """An agency left without an end could go on; one ended in passing could not."""
    first = roster(names(4))
    after = roster(names(3), follows=first, ends=ends)
    with pytest.raises(Unproven, match="ends must be stated"):
        check_next(first, after, sign(after, names(4)))


def test_an_agency_id_is_never_given_out_again() -> None:
    """A newcomer under a dropped agency's name would inherit its entries."""
    first, second = drop(4)
    third = roster(names(4), follows=second)
    check_chain([first], second)
    with pytest.raises(Unproven, match="again"):
        check_chain([first, second], third)


# The form


FIRST = roster(names(3))


def changed(**members: Any) -> bytes:
    """The roster's JSON with other members."""
    return json.dumps(json.loads(FIRST.raw) | members).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"roster"',
        b"{",
        b"\xff\xfe" + FIRST.raw.decode().encode("utf-16-le"),
        b"\xef\xbb\xbf" + FIRST.raw,
        FIRST.raw.replace(b"test", b"t\xe9st"),
        FIRST.raw.replace(b'"version": 1', b'"version": 1, "version": 1'),
        FIRST.raw.replace(b'"id": "a1"', b'"id": "a2", "id": "a1"'),
        FIRST.raw.replace(b'"version": 1', b'"version": 1.0'),
        FIRST.raw.replace(b'"version": 1', b'"version": 1e0'),
        FIRST.raw.replace(b'"version": 1', b'"version": true'),
        FIRST.raw.replace(b'"version": 1', b'"version": "1"'),
        FIRST.raw.replace(b'"version": 1', b'"version": -1'),
        FIRST.raw.replace(b'"version": 1', b'"version": 0'),
        FIRST.raw.replace(b'"version": 1', b'"version": ' + b"9" * 20),
        FIRST.raw.replace(b'"version": 1', b'"version": ' + b"9" * 5_000),
        FIRST.raw.replace(b'"version": 1', b'"version": 2'),
        FIRST.raw.replace(b'"sunset": null', b'"sunset": NaN'),
        FIRST.raw.replace(b'"sunset": null', b'"sunset": Infinity'),
        FIRST.raw.replace(b'"sunset": null', b'"sunset": 1e400'),
        FIRST.raw.replace(b'"sunset": null', b'"sunset": -1'),
        FIRST.raw.replace(b'"sunset": null', b'"sunset": {}'),
        FIRST.raw.replace(b'"sunset": null', b'"sunset": ' + b"[" * 900 + b"]" * 900),
        FIRST.raw.replace(b'"sunset": null', b'"sunset": ' + b"[" * 100_000 + b"]" * 100_000),
        FIRST.raw.replace(b"test", b"Test"),
        FIRST.raw.replace(b"test", b"te/st"),
        FIRST.raw.replace(b"test", b".."),
        FIRST.raw.replace(b"test", b"\\ud800"),
        FIRST.raw.replace(b'"ru": "', b'"ru": "\\ud800'),
        changed(extra=1),
        changed(ledger=["test"]),
        changed(agencies=[]),
        changed(agencies={}),
        changed(agencies=[{"id": "a1", "root_key": "ab" * 32}] * 2),
        changed(agencies=[{"id": f"a{n}", "root_key": "ab" * 32} for n in range(3)]),
        changed(agencies=[{"id": f"a{n}", "root_key": f"{n:064x}"} for n in range(1_001)]),
        changed(agencies=[{"id": "a1", "root_key": "AB" * 32}]),
        changed(agencies=[{"id": "a1", "root_key": "ab" * 32}]),
        changed(agencies=[{"id": "a1", "root_key": "ab" * 32}], recovery_key="ab" * 32),
        changed(recovery_key="cd" * 32),
        changed(before="ab" * 32),
        changed(ends={"a1": {"era": 1, "size": 1, "root": "ab" * 32, "next_era": 2}}),
        changed(version=2, before="ab" * 32, ends={"a1": {"era": 1, "size": 1, "root": "x", "next_era": 2}}),
        changed(
            version=2, before="ab" * 32, ends={"a1": {"era": 2, "size": 1, "root": "ab" * 32, "next_era": 2}}
        ),
        changed(version=2, before="ab" * 32, ends={"a1": {"era": 1, "size": 1, "root": "ab" * 32}}),
        changed(version=2, before="ab" * 32, ends={"../x": {}}),
        changed(version=2, before="ab" * 32, ends=[]),
        changed(statute={}),
        changed(statute=None),
    ],
)
def test_a_roster_that_is_not_one(raw: bytes) -> None:
    """Duplicate keys, floats, NaN, other encodings, wrong types: refused with a short text, never a crash."""
    assert raw != FIRST.raw
    with pytest.raises(Malformed) as caught:
        parse_roster(raw)
    assert len(str(caught.value)) < 400
    str(caught.value).encode()


def test_a_roster_too_large_is_not_parsed() -> None:
    """Nothing is believed for its length."""
    with pytest.raises(Malformed):
        parse_roster(FIRST.raw + b" " * ROSTER_BYTES_MAX)


def test_every_other_spelling_is_another_version() -> None:
    """A roster is its exact bytes: a space more is another hash, and other signatures."""
    spaced = parse_roster(FIRST.raw + b"\n")
    assert spaced.hash == roster_hash(spaced.raw) != FIRST.hash
    with pytest.raises(Unproven):
        check_first(spaced, sign(FIRST, names(3)))


def test_truncated_and_lengthened_rosters_are_never_the_same() -> None:
    """Every prefix is refused, every longer one is refused or another version."""
    for raw in truncated(FIRST.raw.rstrip()):
        with pytest.raises(Malformed):
            parse_roster(raw)
    for raw in extended(FIRST.raw):
        try:
            assert parse_roster(raw).hash != FIRST.hash
        except Malformed:
            continue


@given(st.integers(0, len(FIRST.raw) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_another_version(at: int, change: int) -> None:
    """No byte of a roster is without meaning: the hash is over all of them."""
    raw = FIRST.raw[:at] + bytes([FIRST.raw[at] ^ change]) + FIRST.raw[at + 1 :]
    try:
        other = parse_roster(raw)
    except Malformed:
        return
    with pytest.raises(LedgerError):
        check_first(other, sign(FIRST, names(3)))


def test_a_roster_comes_back_as_it_was_written() -> None:
    """format, then parse: every member of a later version."""
    first = roster(names(3))
    second = roster(
        names(2), follows=first, sunset=30_000, ends={"a3": Ends(head=Head(3, 9, seed("r")), next_era=5)}
    )
    assert second.version == 2
    assert second.before == first.hash
    assert second.agencies == {name: key(f"{name} root").public_key for name in names(2)}
    assert second.recovery_key == key("recovery").public_key
    assert second.sunset == 30_000
    assert second.ends == {"a3": Ends(head=Head(3, 9, seed("r")), next_era=5)}
    assert second.statute == first.statute


def test_the_signed_text_is_this() -> None:
    """By example, from the file's bytes with a hash of our own."""
    first = World().roster
    encoded = base64.b64encode(hashlib.sha256(first.raw).digest()).decode()
    assert signing_text(first) == f"test/roster\n1\n{encoded}\n"
