"""A tlog-policy: its grammar, and whether a checkpoint has its quorum."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, format_checkpoint
from ledger.cosignature import cosign
from ledger.errors import Malformed, Unproven
from ledger.merkle import EMPTY_ROOT
from ledger.note import TYPE_COSIGNATURE, format_note, format_vkey, parse_note, sign_note, verifier_of
from ledger.policy import check_quorum, parse_policy
from tests.world import key

LOG = format_vkey(verifier_of("test/a/1", key("log").public_key))
WITNESSES = {
    name: format_vkey(verifier_of(f"w/{name}", key(name).public_key, TYPE_COSIGNATURE)) for name in "abc"
}
TEXT = format_checkpoint(Checkpoint(origin="test/a/1", size=0, root=EMPTY_ROOT))


def policy(*lines: str) -> str:
    named = [f"witness {name} {vkey} http://w/{name}" for name, vkey in WITNESSES.items()]
    return "\n".join(["# keys", f"log {LOG} http://log", *named, *lines])


def checkpoint(*witnesses: str) -> bytes:
    lines = [sign_note(TEXT, "test/a/1", key("log"))]
    return format_note(TEXT, lines + [cosign(TEXT, f"w/{name}", key(name), 5) for name in witnesses])


@pytest.mark.parametrize(
    ("quorum", "cosigned", "is_met"),
    [
        ("none", "", True),
        ("a", "", False),
        ("a", "b", False),
        ("a", "a", True),
        ("any3", "c", True),
        ("any3", "", False),
        ("two", "a", False),
        ("two", "aa", False),
        ("two", "ac", True),
        ("all3", "ab", False),
        ("all3", "abc", True),
    ],
)
def test_a_quorum_counts_each_witness_once(quorum: str, cosigned: str, is_met: bool) -> None:
    """any, all, k of n; a witness that signs twice is one."""
    groups = {"any3": "group any3 any a b c", "two": "group two 2 a b c", "all3": "group all3 all a b c"}
    parsed = parse_policy(policy(groups.get(quorum, ""), f"quorum {quorum}"))
    note = parse_note(checkpoint(*cosigned))
    if is_met:
        check_quorum(parsed, note)
    else:
        with pytest.raises(Unproven):
            check_quorum(parsed, note)


def test_groups_nest() -> None:
    """A group may be a member of a later one."""
    parsed = parse_policy(policy("group two any a b", "group top all two c", "quorum top"))
    check_quorum(parsed, parse_note(checkpoint("b", "c")))
    with pytest.raises(Unproven):
        check_quorum(parsed, parse_note(checkpoint("a", "b")))


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("quorum none", "quorum none"),
        ("quorum d",),
        ("group g 4 a b c", "quorum g"),
        ("group g 0 a", "quorum g"),
        ("group g any", "quorum g"),
        ("group g any a", "group h any a", "quorum h"),
        ("group g any h", "group h any a", "quorum g"),
        ("group g any g", "quorum g"),
        ("group a any b", "quorum a"),
        ("group none any b", "quorum none"),
        ("witness d " + WITNESSES["a"], "quorum none"),
        ("witness d " + LOG, "quorum none"),
        (f"log {LOG}", "quorum none"),
        ("group g ² a b", "quorum g"),
        ("nonsense", "quorum none"),
    ],
)
def test_a_policy_that_could_be_read_two_ways_is_refused(lines: tuple[str, ...]) -> None:
    """Undefined, repeated and recursive names, keys given twice, impossible thresholds."""
    with pytest.raises(Malformed):
        parse_policy(policy(*lines))


@given(st.text(alphabet="logwitnesgroupqarum 123abc#\n+=", max_size=300))
def test_noise_is_malformed_or_a_policy(text: str) -> None:
    """No text gives any other error."""
    with contextlib.suppress(Malformed):
        parse_policy(text)
