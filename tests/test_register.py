"""`cli.register`: names on staff machines only, sealed, and believed only from those whom one named."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.register import (
    Pupil,
    Register,
    empty_register,
    open_register,
    read_register,
    seal_register,
    write_register,
)
from ledger import codec
from ledger.errors import Conflict, LedgerError, Malformed, StoreError, Unproven
from tests.spoiled import extended, flipped, truncated
from tests.staff_side import randomness
from tests.world import key, seed

CLERK, COLLEAGUE, STRANGER, RECOVERY = key("clerk"), key("colleague"), key("stranger"), key("recovery")
NAMES = ("Сказкина Алёна", "Небывалов Тихон")


def pupil(number: int = 0, **changes: object) -> Pupil:
    fields = {
        "local_id": f"7a-{number:02}",
        "pid": seed(f"pid {number}")[:16],
        "name": NAMES[number % 2],
        "class_name": "7а",
    }
    return Pupil(**(fields | changes))


def register(count: int = 2) -> Register:
    return empty_register(CLERK.public_key).adding(pupil(number) for number in range(count))


def sealed(one: Register | None = None, writer: object = CLERK) -> bytes:
    return seal_register(one or register(), writer, randomness())


def test_what_is_written_is_read_back_one_version_later() -> None:
    """Pupils and readers come back as they were; the version has grown by one."""
    assert open_register(sealed(), CLERK) == replace(register(), version=1)


def test_nobody_is_named_on_the_disk(tmp_path: Path) -> None:
    """Neither names nor local ids nor pseudonyms stand in the file in the clear."""
    path = tmp_path / "register.sealed"
    write_register(path, register(), CLERK, randomness())
    data = path.read_bytes()
    canaries = [
        *(one.name.encode() for one in register().pupils.values()),
        b"7a-00",
        *register().pids().values(),
    ]
    assert [canary for canary in canaries if canary in data] == []
    assert path.stat().st_mode & 0o077 == 0


def test_a_colleague_and_a_recovery_holder_can_open_it_and_nobody_else() -> None:
    """The content key is sealed to each reader's own key."""
    data = sealed(register().readable_by([COLLEAGUE.public_key, RECOVERY.public_key]))
    for reader in (COLLEAGUE, RECOVERY):
        assert open_register(data, reader, [CLERK.public_key]).pupils == register().pupils
    with pytest.raises(Unproven, match="not readable by your key"):
        open_register(data, STRANGER, [CLERK.public_key])


def test_a_register_sealed_by_a_stranger_to_our_keys_is_not_believed() -> None:
    """Public keys are public: without this check a thief could give one child's marks to another."""
    forged = empty_register(STRANGER.public_key).adding([pupil()]).readable_by([CLERK.public_key])
    with pytest.raises(Unproven, match="no colleague's"):
        open_register(sealed(forged, STRANGER), CLERK)


def test_a_stranger_cannot_sign_in_the_name_of_the_writer() -> None:
    """Signed bytes whose writer was exchanged do not verify."""
    signed, signature = codec.decode(sealed())
    fields = codec.decode(signed)
    forged = codec.encode([fields[0], fields[1], STRANGER.public_key, *fields[3:]])
    with pytest.raises(Unproven):
        open_register(codec.encode([forged, signature]), CLERK, [STRANGER.public_key])


def test_no_changed_byte_is_read() -> None:
    """Cut short, lengthened, or with any bit turned, the register is refused."""
    data = sealed(register(1))
    for spoiled in (*truncated(data), *extended(data), *list(flipped(data))[::7]):
        with pytest.raises((Malformed, Unproven)):
            open_register(spoiled, CLERK)


def test_a_pupil_who_is_in_the_register_keeps_the_pseudonym() -> None:
    """Enrolling the same list again changes nobody."""
    again = register().adding([pupil(0, pid=seed("other")[:16], name="Иная"), pupil(3)])
    assert again.pupils["7a-00"] == pupil(0)
    assert list(again.pupils) == ["7a-00", "7a-01", "7a-03"]


def test_a_write_over_a_version_not_seen_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """Two windows that both enrolled do not lose a class."""
    path = tmp_path / "register.sealed"
    first = read_register(path, CLERK)
    write_register(path, first.adding([pupil(0)]), CLERK, randomness())
    before = path.read_bytes()
    with pytest.raises(Conflict, match="written meanwhile"):
        write_register(path, first.adding([pupil(1)]), CLERK, randomness())
    assert path.read_bytes() == before


def test_a_write_that_fails_leaves_the_old_register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs nothing that was there."""
    path = tmp_path / "register.sealed"
    kept = write_register(path, register(1), CLERK, randomness())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="free some space"):
        write_register(path, kept.adding([pupil(1)]), CLERK, randomness())
    monkeypatch.undo()
    assert read_register(path, CLERK) == kept


def test_an_absent_register_is_an_empty_one_of_ones_own(tmp_path: Path) -> None:
    """Before the first enrolment there is nobody, and only oneself as a reader."""
    assert read_register(tmp_path / "none", CLERK) == empty_register(CLERK.public_key)


@pytest.mark.parametrize(
    "changes", [{"name": ""}, {"name": "a\nb"}, {"name": "x" * 121}, {"local_id": "\x1b"}, {"pid": b"short"}]
)
def test_a_line_that_could_confuse_is_refused(changes: dict[str, object]) -> None:
    """Line ends, escapes and endless names do not get into the register."""
    with pytest.raises(Malformed):
        pupil(**changes)


def test_one_pseudonym_for_two_children_is_refused() -> None:
    """Two local ids with one pseudonym would mix two children's records."""
    twins = register(1).adding([pupil(1, pid=pupil(0).pid)])
    with pytest.raises(Malformed, match="once"):
        open_register(sealed(twins), CLERK)


def test_whoever_writes_must_be_able_to_read() -> None:
    """Nobody locks himself out."""
    with pytest.raises(Malformed):
        seal_register(empty_register(COLLEAGUE.public_key), CLERK, randomness())


@given(st.binary(max_size=200))
def test_no_bytes_give_a_traceback(data: bytes) -> None:
    """Any bytes are refused with an error of the ledger's own."""
    with pytest.raises(LedgerError):
        open_register(data, CLERK)
