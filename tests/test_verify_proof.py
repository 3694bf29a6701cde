"""A single proof in an outsider's hands: what it shows, and every way to cheat with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest

from cli.audit import _verify_proof
from ledger import codec
from ledger.errors import LedgerError
from ledger.keys import verify_many
from ledger.merkle import prove_inclusion_in
from ledger.note import format_vkey, verifier_of
from ledger.presentation import make_presentation
from ledger.proof import TlogProof, format_proof, parse_proof
from ledger.report import Level, Report
from ledger.verify_proof import is_proof, verify_proof, verify_with_key
from node import dossier
from tests.world import AGENCIES, Log, MemorySource, World, key, record, seed


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    log = world.logs["district"]
    log.take(log.leaf(log.private([record("notice"), record("enrolment"), record()])))
    return world


def receipt(log: Log, index: int) -> TlogProof:
    hashes = [one.hash for one in log.judged()]
    path = prove_inclusion_in(hashes, index)
    return TlogProof(extra=log.leaves[index], index=index, hashes=tuple(path), checkpoint=log.checkpoint())


def shown(log: Log) -> bytes:
    from ledger.entry import PrivateBodies

    bodies = PrivateBodies(
        padding_seed=seed("padding 0"), records=(record("notice"), record("enrolment"), record())
    )
    return make_presentation(receipt(log, 2), record(), bodies.hashes())


def judge(world: World, proof: bytes, ledger_id: bytes | None = None) -> Report:
    return verify_proof(proof, MemorySource(world.tree()), ledger_id or world.ledger_id, verify_many)


def policy(world: World, log_key: bytes, quorum: str = "none") -> str:
    return f"log {format_vkey(verifier_of('test/district/1', log_key))}\nquorum {quorum}\n"


def test_a_shown_record_is_verified_with_the_log_beside_it(world: World) -> None:
    """The control: shown part, path, entry, log, author."""
    proof = shown(world.logs["district"])
    report = judge(world, proof)
    assert is_proof(proof) and report.problems == () and report.verdict == "verified"
    assert (report.entries, report.records, report.bodies["held"]) == (1, 1, 1)
    assert seed("pid anna")[:16] not in (parse_proof(proof).extra or b"")


def test_a_receipt_is_verified_too(world: World) -> None:
    """A receipt is a proof of the whole entry, with its bodies withheld."""
    report = judge(world, format_proof(receipt(world.logs["district"], 2)))
    assert report.verdict == "verified" and report.bodies["withheld"] == 4


def test_each_byte_changed_is_never_verified_as_the_same(world: World) -> None:
    """Flipping any byte of a shown record ends in a refusal, and in no other error."""
    proof = shown(world.logs["district"])
    text = policy(world, world.logs["district"].key("log").public_key)
    assert verify_with_key(proof, world.ledger_id, text).verdict == "verified"
    for place in range(len(proof)):
        spoiled = bytearray(proof)
        spoiled[place] ^= 1
        try:
            verdict = verify_with_key(bytes(spoiled), world.ledger_id, text).verdict
        except LedgerError:
            continue
        assert verdict != "verified", place


def test_another_mark_under_the_same_path_is_refused(world: World) -> None:
    """The shown part is replaced by one with a better mark."""
    proof = parse_proof(shown(world.logs["district"]))
    extra = codec.decode(proof.extra or b"")
    extra["shown"] = record(value="4").shown_part
    forged = TlogProof(
        extra=codec.encode(extra), index=proof.index, hashes=proof.hashes, checkpoint=proof.checkpoint
    )
    [problem] = judge(world, format_proof(forged)).problems
    assert problem.violation.rule.name == "record.proof"


def test_another_ledger_is_refused(world: World) -> None:
    """The same proof under another ledger id, with dossier and with policy."""
    proof = shown(world.logs["district"])
    assert judge(world, proof, bytes(32)).verdict == "failed"
    text = policy(world, world.logs["district"].key("log").public_key)
    assert verify_with_key(proof, bytes(32), text).verdict == "failed"


def test_another_log_key_is_refused(world: World) -> None:
    """A policy with another key for the origin, and one without the origin."""
    proof = shown(world.logs["district"])
    assert verify_with_key(proof, world.ledger_id, policy(world, key("thief").public_key)).verdict == "failed"
    elsewhere = f"log {format_vkey(verifier_of('test/sport/1', key('x').public_key))}\nquorum none\n"
    assert verify_with_key(proof, world.ledger_id, elsewhere).verdict == "incomplete"


def test_a_log_that_has_another_leaf_there_convicts(world: World) -> None:
    """The log key signs a second history for the outsider only: the dossier in hand shows it."""
    twin = World()
    log = twin.logs["district"]
    log.take(log.leaf(log.private([record("notice"), record("enrolment"), record(value="4")], number=7)))
    codes = [one.violation.rule.name for one in judge(twin, shown(world.logs["district"])).problems]
    assert codes == ["record.proof", "checkpoint.root"]


def test_an_author_without_a_grant_is_named(world: World) -> None:
    """The proof alone cannot show it; the log beside it does."""
    twin = World()
    log = twin.logs["district"]
    log.append(log.leaf(log.private([record("notice"), record("enrolment"), record()], by="stranger")))
    codes = [one.violation.rule.name for one in judge(twin, shown(log)).problems]
    assert codes == ["author.unknown"]


def test_noise_is_a_failed_report(world: World) -> None:
    """A cut or empty proof, and one without leaf, have a verdict and no traceback."""
    proof = shown(world.logs["district"])
    bare = parse_proof(proof)
    for data in (
        b"",
        proof[:100],
        proof[:-1],
        proof + b"\n",
        format_proof(TlogProof(extra=None, index=bare.index, hashes=bare.hashes, checkpoint=bare.checkpoint)),
    ):
        assert judge(world, data).verdict == "failed"


def test_a_receipt_of_an_unsigned_entry_is_refused(world: World) -> None:
    """A log key alone must not make an author's entry: under a policy nobody else would notice."""
    twin = World()
    log = twin.logs["district"]
    honest = log.private([record("notice")])
    forged = dataclasses.replace(honest, signature=bytes(64))
    log.append(log.leaf(forged))
    text = policy(twin, log.key("log").public_key)
    report = verify_with_key(format_proof(receipt(log, 2)), twin.ledger_id, text)
    assert [one.violation.rule.name for one in report.problems] == ["record.proof"]


def test_the_same_leaf_under_a_second_history_is_refused(world: World) -> None:
    """The log key signed another tree with the same leaf at the same index: the roots convict it."""
    twins = [World(), World()]
    for number, twin in enumerate(twins):
        log = twin.logs["district"]
        log.take(log.leaf(log.private([record("notice"), record("enrolment"), record()])))
        log.take(log.leaf(log.private([record("notice", subject=f"other {number}")], number=9)))
    codes = [one.violation.rule.name for one in judge(twins[1], shown(twins[0].logs["district"])).problems]
    assert codes == ["checkpoint.root"]


# Certified receipts


def pinned() -> Log:
    """A log with one private entry at index 3, after an adopt that pins the others."""
    world = World()
    log = world.logs["district"]
    log.take(log.leaf(log.entry([log.adopt(cards=log.pins())], by="desk")))
    log.take(log.leaf(log.private([record("notice")])))
    return log


def certified_receipt(log: Log, witnesses: Iterable[str], index: int = 3) -> bytes:
    """The receipt of an entry, its checkpoint cosigned."""
    return format_proof(dataclasses.replace(receipt(log, index), checkpoint=log.cosigned(witnesses)))


def at_level(log: Log, proof: bytes, level: Level = "certified") -> tuple[str, int, list[str]]:
    """Verdict, certified size and broken rules."""
    report = verify_proof(proof, MemorySource(log.world.tree()), log.world.ledger_id, verify_many, level)
    [line] = report.logs
    return report.verdict, line.certified_size, [one.violation.rule.name for one in report.problems]


def test_a_receipt_with_a_quorum_of_pinned_witnesses_is_certified() -> None:
    """By its own cosignatures, whatever the files of the log hold."""
    log = pinned()
    proof = certified_receipt(log, AGENCIES)
    assert at_level(log, proof) == ("verified", 4, [])
    assert at_level(log, proof, "leaf") == ("verified", 4, [])
    log.take(log.leaf(log.private([record("enrolment")], number=1)))
    assert at_level(log, proof) == ("verified", 4, [])


@pytest.mark.parametrize(
    "witnesses", [[], ["centre", "district"], ["centre", "centre", "district"], ["centre", "district", "x"]]
)
def test_a_receipt_with_less_than_a_quorum_is_not_certified(witnesses: list[str]) -> None:
    """At level leaf that is no problem of it."""
    log = pinned()
    proof = certified_receipt(log, witnesses)
    assert at_level(log, proof) == ("incomplete", 0, ["log.level"])
    assert at_level(log, proof, "leaf") == ("verified", 0, [])


def test_a_receipt_below_the_logs_certified_checkpoint_is_certified_by_it() -> None:
    """The first receipt that the node gave has no cosignature: the dossier knows more by now."""
    log = pinned()
    proof = format_proof(receipt(log, 3))
    log.take(log.leaf(log.private([record("enrolment")], number=1)))
    late = format_proof(receipt(log, 4))
    log.kept["checkpoint.certified"] = log.cosigned(AGENCIES, 4)
    assert at_level(log, proof) == ("verified", 4, [])
    assert at_level(log, late) == ("incomplete", 4, ["log.level"])


def test_a_receipt_newer_than_the_dossier_is_not_certified_by_it() -> None:
    """An adopt that pins other keys may lie between: nobody knows under what it stands."""
    log = pinned()
    older = log.world.tree() | log.files(3)
    proof = certified_receipt(log, AGENCIES)
    for name in [name for name in older if name.endswith(".p/4")]:
        del older[name]
    report = verify_proof(proof, MemorySource(older), log.world.ledger_id, verify_many, "certified")
    assert (report.verdict, report.logs[0].certified_size) == ("incomplete", 0)


def test_a_cosigned_second_history_is_convicted_and_certifies_nothing() -> None:
    """The quorum lies together with the log key: the dossier in hand shows the other root."""
    log, twin = pinned(), pinned()
    twin.take(twin.leaf(twin.private([record("enrolment")], number=1)))
    log.take(log.leaf(log.private([record("enrolment")], number=2)))
    assert at_level(log, certified_receipt(twin, AGENCIES)) == (
        "failed",
        0,
        ["checkpoint.root", "log.level"],
    )


def test_a_receipt_under_a_new_version_needs_the_transition_in_the_dossier() -> None:
    """The same rule as for a log: without it nothing later is certified."""
    log = pinned()
    world = log.world
    for other in world.logs.values():
        if other is not log:
            other.take(other.leaf(other.entry([other.adopt(cards=other.pins())], by="desk")))
    new = [f"new{number}" for number in range(4)]
    left = ("centre", "sport")
    world.next_roster(
        {name: f"{name} root" for name in ("district", *new)},
        ends={name: world.logs[name].end() for name in left},
    )
    for name in new:
        world.logs[name].take(world.logs[name].leaf(world.logs[name].opening()))
    log.take(log.leaf(log.entry([log.adopt(cards=log.pins())], by="desk", created_day=1)))
    transition = log.cosigned([*new, *AGENCIES])
    log.take(log.leaf(log.private([record("enrolment")], number=1)))
    proof = certified_receipt(log, [*new, "district"], index=5)
    assert at_level(log, proof) == ("incomplete", 0, ["log.level"])
    log.kept["certified/2"] = transition
    assert at_level(log, proof) == ("verified", 6, [])


def test_under_a_policy_its_quorum_certifies() -> None:
    """With a quorum of `none` nothing is, and level certified says so."""
    log = pinned()
    lines = [f"log {format_vkey(verifier_of(str(log.origin), log.key('log').public_key))}"]
    for name in AGENCIES:
        vkey = format_vkey(verifier_of(f"test/{name}/witness", key(f"{name} witness").public_key, 4))
        lines.append(f"witness {name} {vkey}")
    quorum = "\n".join([*lines, f"group all all {' '.join(AGENCIES)}", "quorum all"])
    none = "\n".join([*lines, "quorum none"])
    whole, part = certified_receipt(log, AGENCIES), certified_receipt(log, AGENCIES[:2])
    for proof, text, level, outcome in (
        (whole, quorum, "certified", ("verified", 4)),
        (whole, quorum, "leaf", ("verified", 4)),
        (part, quorum, "leaf", ("incomplete", 0)),
        (whole, none, "certified", ("incomplete", 0)),
        (whole, none, "leaf", ("verified", 0)),
    ):
        report = verify_with_key(proof, log.world.ledger_id, text, level)  # type: ignore[arg-type]
        assert (report.verdict, report.logs[0].certified_size) == outcome


def test_the_command_takes_the_level_for_proofs_too(tmp_path: Path) -> None:
    """With a dossier and with a policy beside the proof."""
    log = pinned()
    dossier.write(tmp_path / "keys.zip", sorted(log.world.tree().items()))
    vkey = format_vkey(verifier_of(str(log.origin), log.key("log").public_key))
    (tmp_path / "keys.txt").write_text(f"log {vkey}\nquorum none\n")
    for witnesses, keys, verdict in (
        (AGENCIES, "keys.zip", "verified"),
        (AGENCIES[:2], "keys.zip", "incomplete"),
        (AGENCIES, "keys.txt", "incomplete"),
    ):
        proof = tmp_path / "entry.tlog-proof"
        proof.write_bytes(certified_receipt(log, witnesses))
        report = _verify_proof(proof, log.world.ledger_id, str(tmp_path / keys), "certified")
        assert report.verdict == verdict
