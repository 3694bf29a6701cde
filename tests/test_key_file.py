"""`node.key_file`: keys come back with their passphrase and unchanged, or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import stat
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from ledger import keys
from ledger.errors import Conflict, LedgerError, Malformed, StoreError, Unproven
from node import key_file
from node.key_file import Cost, read_key_file, read_passphrase, read_public_keys, write_key_file

SECRETS = {"log": b"1" * 32, "witness": b"2" * 32, "sealing": b"3" * 32, "master": b"4" * 32}
PASSPHRASE = "верная лошадь, батарея"
CHEAP = key_file.COST_MIN


def write(path: Path, *, passphrase: str = PASSPHRASE, seed: int = 1, cost: Cost = CHEAP) -> bytes:
    write_key_file(path, "school-12", SECRETS, passphrase, random.Random(seed).randbytes, cost=cost)
    return path.read_bytes()


def rewrite(path: Path, value: dict[str, Any]) -> None:
    """Write ``value`` as a forger would: in canonical form and with a check that holds."""
    value.pop("check", None)

    def form(content: dict[str, Any]) -> bytes:
        return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    value["check"] = hashlib.sha256(form(value)).hexdigest()
    path.write_bytes(form(value))


def test_keys_come_back_with_the_passphrase(tmp_path: Path) -> None:
    """What was written is read, under the interactive cost that is the default."""
    path = tmp_path / "node.keys"
    write_key_file(path, "school-12", SECRETS, PASSPHRASE, random.Random(1).randbytes)
    assert read_key_file(path, PASSPHRASE) == SECRETS
    head = json.loads(path.read_bytes())["argon2id"]
    assert (head["operations"], head["memory_bytes"]) == (2, 64 * 1024 * 1024)


def test_names_and_public_keys_need_no_passphrase(tmp_path: Path) -> None:
    """Ed25519 keys, the X25519 sealing key, and nothing at all for the master key are shown."""
    write(tmp_path / "node.keys")
    public = read_public_keys(tmp_path / "node.keys")
    assert public.name == "school-12"
    assert public.keys == {
        "log": keys.SigningKey(SECRETS["log"]).public_key,
        "witness": keys.SigningKey(SECRETS["witness"]).public_key,
        "sealing": keys.sealing_public_key(SECRETS["sealing"]),
        "master": b"",
    }


def test_no_secret_stands_in_the_file(tmp_path: Path) -> None:
    """Neither raw, nor in hex or base64, is a seed in the file; only its owner may read it."""
    data = write(tmp_path / "node.keys")
    for seed in SECRETS.values():
        assert seed not in data and seed.hex().encode() not in data and base64.b64encode(seed) not in data
    assert stat.S_IMODE(os.stat(tmp_path / "node.keys").st_mode) == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["node.keys"]


@pytest.mark.parametrize("wrong", ["верная лошадь, батаре", PASSPHRASE + " ", PASSPHRASE.upper(), "x"])
def test_a_wrong_passphrase_is_named_as_such(tmp_path: Path, wrong: str) -> None:
    """The text speaks of the passphrase, not of damage."""
    write(tmp_path / "node.keys")
    with pytest.raises(Unproven, match="passphrase does not open it"):
        read_key_file(tmp_path / "node.keys", wrong)


def test_an_empty_passphrase_is_refused_on_both_sides(tmp_path: Path) -> None:
    """Keys are never locked under nothing."""
    with pytest.raises(Malformed, match="passphrase"):
        write(tmp_path / "node.keys", passphrase="")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "node.keys")
    with pytest.raises(Malformed, match="passphrase"):
        read_key_file(tmp_path / "node.keys", "")


def test_a_passphrase_typed_on_another_keyboard_is_the_same(tmp_path: Path) -> None:
    """Composed and decomposed letters (й, é) give one key."""
    passphrase = "йод café"
    write(tmp_path / "node.keys", passphrase=unicodedata.normalize("NFD", passphrase))
    assert read_key_file(tmp_path / "node.keys", unicodedata.normalize("NFC", passphrase)) == SECRETS


def test_existing_keys_are_never_overwritten(tmp_path: Path) -> None:
    """A second file of the same name is refused and the first stays byte for byte."""
    before = write(tmp_path / "node.keys")
    with pytest.raises(Conflict, match="exists already"):
        write(tmp_path / "node.keys", seed=2)
    assert (tmp_path / "node.keys").read_bytes() == before


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails while keys are written, no half file is left that a later run trips over."""
    with pytest.raises(StoreError, match="no such file or folder"):
        write(tmp_path / "absent" / "node.keys")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="disk is full"):
            write(tmp_path / "node.keys")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "node.keys")


def test_no_changed_byte_goes_unnoticed(tmp_path: Path) -> None:
    """Each byte with a bit flipped, or put in upper case, is refused before the passphrase is even tried."""
    path = tmp_path / "node.keys"
    good = write(path)
    for place in range(len(good)):
        for mask in (0x01, 0x20, 0x80):
            path.write_bytes(good[:place] + bytes([good[place] ^ mask]) + good[place + 1 :])
            with pytest.raises(Malformed, match=r"node\.keys: "):
                read_key_file(path, PASSPHRASE)


def test_a_file_cut_short_or_followed_by_more_is_refused(tmp_path: Path) -> None:
    """Truncated at any byte (a full stick), empty, doubled or padded, it says so."""
    path = tmp_path / "node.keys"
    good = write(path)
    for bad in [*(good[:length] for length in range(len(good))), good + b"\n", good + good, good + b"\0"]:
        path.write_bytes(bad)
        with pytest.raises(Malformed, match="damaged"):
            read_public_keys(path)


def test_a_forger_who_mends_the_check_is_found_out(tmp_path: Path) -> None:
    """A name, public key or key name changed by someone who recomputes the check fails when opened."""
    path = tmp_path / "node.keys"
    for change in ("name", "public", "dropped", "added", "operations", "salt", "locked"):
        path.unlink(missing_ok=True)
        value = json.loads(write(path))
        if change == "name":
            value["name"] = "school-13"
        elif change == "public":
            value["keys"]["log"] = keys.SigningKey(b"e" * 32).public_key.hex()
        elif change == "dropped":
            del value["keys"]["witness"]
        elif change == "added":
            value["keys"]["root"] = "00" * 32
        elif change == "operations":
            value["argon2id"]["operations"] += 1
        elif change == "salt":
            value["argon2id"]["salt"] = "11" * 16
        else:
            locked = bytearray(base64.b64decode(value["locked"]))
            locked[40] ^= 1
            value["locked"] = base64.b64encode(bytes(locked)).decode()
        rewrite(path, value)
        with pytest.raises(Unproven):
            read_key_file(path, PASSPHRASE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("memory_bytes", 1 << 40),
        ("memory_bytes", 1024),
        ("memory_bytes", -1),
        ("memory_bytes", True),
        ("operations", 10**9),
        ("operations", 0),
        ("operations", 1.0),
        ("operations", "2"),
        ("operations", None),
    ],
)
def test_a_hostile_cost_is_refused_before_it_is_paid(tmp_path: Path, field: str, value: object) -> None:
    """A file that asks for a terabyte of memory or hours of work is refused at once."""
    path = tmp_path / "node.keys"
    content = json.loads(write(path))
    content["argon2id"][field] = value
    rewrite(path, content)
    with pytest.raises(Malformed, match=field):
        read_key_file(path, PASSPHRASE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "0",
        '"keys"',
        "[" * 50_000,
        '{"locked": 5}',
        '{"locked": "", "check": ""}',
        '{"locked": "", "check": "", "version": 1, "argon2id": 3}',
        '{"locked": "\\ud800"}',
    ],
)
def test_other_files_are_no_key_files(tmp_path: Path, text: str) -> None:
    """JSON of another shape ends in one clear error and never in a traceback."""
    path = tmp_path / "node.keys"
    path.write_text(text)
    with pytest.raises(Malformed, match="not a key file"):
        read_key_file(path, PASSPHRASE)


def test_missing_huge_and_unreadable_files_are_named(tmp_path: Path) -> None:
    """Absent, a folder, or a gigabyte by mistake: the error names the path."""
    (tmp_path / "huge").write_bytes(bytes(key_file.FILE_BYTES_MAX + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("absent", "", "huge", "binary"):
        error = Malformed if name == "binary" else StoreError
        with pytest.raises(error, match=str(tmp_path / name)):
            read_key_file(tmp_path / name, PASSPHRASE)


@pytest.mark.parametrize(
    ("name", "secrets"),
    [
        ("n", {}),
        ("", {"log": bytes(32)}),
        ("n", {"": bytes(32)}),
        ("n", {"log": bytes(31)}),
        ("n" * 200, {"log": bytes(32)}),
        ("n", {str(number): bytes(32) for number in range(65)}),
    ],
)
def test_what_no_key_file_can_hold_is_refused(tmp_path: Path, name: str, secrets: dict[str, bytes]) -> None:
    """Nothing, too much, nameless keys and seeds of another length are refused and nothing is written."""
    with pytest.raises(Malformed):
        write_key_file(tmp_path / "k", name, secrets, PASSPHRASE, random.Random(1).randbytes, cost=CHEAP)
    assert list(tmp_path.iterdir()) == []


def test_each_file_has_its_own_salt_and_nonce(tmp_path: Path) -> None:
    """Two files under one passphrase share neither salt nor locked bytes."""
    values = [json.loads(write(tmp_path / f"{seed}.keys", seed=seed)) for seed in (1, 2)]
    assert values[0]["argon2id"]["salt"] != values[1]["argon2id"]["salt"]
    assert values[0]["locked"][:32] != values[1]["locked"][:32]


def test_a_passphrase_comes_from_a_file_before_a_variable(tmp_path: Path) -> None:
    """The file named by the caller, then by the environment, then the variable, else None."""
    (tmp_path / "one").write_text("от файла\r\n")
    (tmp_path / "two").write_bytes(b"from the variable's file ")
    both = {"PLEDGER_PASSPHRASE": "plain", "PLEDGER_PASSPHRASE_FILE": str(tmp_path / "two")}
    assert read_passphrase(both, tmp_path / "one") == "от файла"
    assert read_passphrase(both) == "from the variable's file "
    assert read_passphrase({"PLEDGER_PASSPHRASE": "plain"}) == "plain"
    assert read_passphrase({}) is None
    assert read_passphrase({"PLEDGER_PASSPHRASE": "", "PLEDGER_PASSPHRASE_FILE": ""}) is None


def test_a_passphrase_file_without_one_is_an_error(tmp_path: Path) -> None:
    """Empty, absent, huge or not text: never silently no passphrase."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xff")
    (tmp_path / "huge").write_bytes(b"x" * 5000)
    for name in ("empty", "binary", "huge", "absent"):
        with pytest.raises(LedgerError, match=name):
            read_passphrase({}, tmp_path / name)
