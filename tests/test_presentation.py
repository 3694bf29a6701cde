"""`ledger.presentation`: what an outsider is given of one record, and all that must not pass for it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec, merkle
from ledger.entry import PrivateBodies
from ledger.errors import LedgerError, Malformed, Unproven
from ledger.leaf import make_leaf, parse_leaf
from ledger.note import NoteVerifier, verifier_of
from ledger.presentation import Presentation, check_presentation, make_presentation, parse_presentation
from ledger.proof import TlogProof, format_proof, parse_proof
from ledger.record import padding_parts
from tests.spoiled import spoiled
from tests.staff_side import AGENCY, receipt
from tests.world import HOUR, Log, World, record, seed

RECORDS = tuple(record(number=number, term=f"q{number + 1}") for number in range(3))
BODIES = PrivateBodies(padding_seed=seed("padding 0"), records=RECORDS)


def made() -> tuple[Log, bytes]:
    """A log with an entry of three records, and the presentation of the second."""
    log = World().logs[AGENCY]
    log.take(log.leaf(log.private(RECORDS)))
    return log, make_presentation(parse_proof(receipt(log, 2)), RECORDS[1], BODIES.hashes())


LOG, DATA = made()


def verifier(log: Log = LOG) -> NoteVerifier:
    return verifier_of(str(log.origin), log.key("log").public_key)


def rewritten(data: bytes = DATA, **changes: object) -> bytes:
    """A presentation with other parts in its extra."""
    proof = parse_proof(data)
    assert proof.extra is not None
    extra = codec.encode(codec.decode(proof.extra) | changes)
    return format_proof(replace(proof, extra=extra))


def check(data: bytes, key: NoteVerifier | None = None) -> Presentation:
    presentation = parse_presentation(data)
    check_presentation(presentation, key or verifier())
    return presentation


def test_a_record_is_shown_with_its_place_and_without_its_pseudonym() -> None:
    """The outsider gets the fields and the proof; subject, basis and the owner's salt are not in it."""
    presentation = check(DATA)
    assert presentation.shown["fields"] == RECORDS[1].fields
    assert presentation.record_hash == RECORDS[1].hash
    assert check_presentation(presentation, verifier()).size == 3
    for hidden in (RECORDS[1].subject, codec.decode(RECORDS[1].owner_part)["salt"]):
        assert hidden not in DATA
        assert hidden not in (presentation.proof.extra or b"")


def test_two_outsiders_cannot_join_a_child() -> None:
    """Two records of one child share nothing but what every entry of that day shares."""
    other = parse_presentation(make_presentation(parse_proof(receipt(LOG, 2)), RECORDS[2], BODIES.hashes()))
    assert other.owner_hash != parse_presentation(DATA).owner_hash
    assert other.shown["salt"] != parse_presentation(DATA).shown["salt"]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 33])
def test_every_record_of_an_entry_can_be_shown_alone(count: int) -> None:
    """Whatever the size of the entry, each of its records has a path."""
    log = World().logs[AGENCY]
    records = tuple(record(number=number) for number in range(count))
    log.take(log.leaf(log.private(records)))
    hashes = PrivateBodies(padding_seed=seed("padding 0"), records=records).hashes()
    proof = parse_proof(receipt(log, 2))
    for one in records:
        assert check(make_presentation(proof, one, hashes), verifier(log)).record_hash == one.hash


def test_no_changed_byte_is_taken_for_the_same_fact() -> None:
    """Each byte flipped, cut or added: refused, or provably the very same record in the same place."""
    for data in list(spoiled(DATA))[::5]:
        try:
            presentation = check(data)
        except (Malformed, Unproven):
            continue
        assert (presentation.shown_part, presentation.leaf) == (
            parse_presentation(DATA).shown_part,
            parse_presentation(DATA).leaf,
        )


def changed_shown(**fields: object) -> bytes:
    shown = parse_presentation(DATA).shown
    return codec.encode(shown | {"fields": shown["fields"] | fields})


def other_entry() -> bytes:
    """A leaf of the same author that is in no log."""
    return LOG.leaf(LOG.private([record(number=77)], number=9))


FORGERIES = {
    "a better mark": {"shown": changed_shown(value="2")},
    "another kind": {"shown": codec.encode(parse_presentation(DATA).shown | {"kind": "contest_award"})},
    "another owner part": {"owner_hash": bytes(32)},
    "the place of a neighbour": {"position": (parse_presentation(DATA).position + 1) % 4},
    "a place beyond the entry": {"position": 4},
    "a huge place": {"position": 2**62},
    "a path cut short": {"path": list(parse_presentation(DATA).path)[:-1]},
    "a path too long": {"path": [*parse_presentation(DATA).path, bytes(32)]},
    "no path": {"path": []},
    "a leaf that is in no log": {"leaf": other_entry()},
    "the record of another entry": {"shown": record(number=9).shown_part},
}


@pytest.mark.parametrize("changes", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_part_is_refused_by_the_rule_of_proofs(changes: dict[str, object]) -> None:
    """Each part is bound to the next one up to the log's signature."""
    with pytest.raises(Unproven, match=r"record\.proof"):
        check(rewritten(**changes))


def test_a_padding_record_cannot_be_shown() -> None:
    """Padding lies in the tree like a record; it has no fields, so it is no presentation."""
    owner, shown = padding_parts(seed("padding 0"), 0)
    hash_ = hashlib.sha256(owner).digest()
    with pytest.raises(Malformed):
        check(rewritten(owner_hash=hash_, shown=shown))


def test_a_node_of_the_record_tree_cannot_be_shown_as_a_record() -> None:
    """Inner nodes and records are hashed apart, so a path one level short proves nothing."""
    hashes = BODIES.hashes()
    with pytest.raises((Malformed, Unproven)):
        check(rewritten(shown=merkle.node_hash(*hashes[:2]), path=[], position=0))


@pytest.mark.parametrize("agency", ["sport", "centre"])
def test_a_proof_does_not_pass_under_another_logs_key(agency: str) -> None:
    """The key of one agency does not speak for another's record."""
    with pytest.raises(Unproven, match=r"record\.proof"):
        check(DATA, verifier(World().logs[agency]))


def test_an_entry_meant_for_another_agency_is_refused_in_this_log() -> None:
    """A log that took in a foreign entry does not make it its own record."""
    log = World().logs[AGENCY]
    foreign = World().logs["sport"].private(RECORDS)
    log.append(log.leaf(foreign))
    data = make_presentation(parse_proof(receipt(log, 2)), RECORDS[0], BODIES.hashes())
    with pytest.raises(Unproven, match=r"record\.proof.*an entry of sport"):
        check(data, verifier(log))


def test_an_entry_that_its_author_did_not_sign_is_refused() -> None:
    """A log's owner alone cannot make a teacher say something."""
    log = World().logs[AGENCY]
    entry = log.private(RECORDS)
    forged = replace(entry, signature=bytes(64))
    log.append(make_leaf(forged, prev=log.state.head, received_hour=HOUR).raw)
    data = make_presentation(parse_proof(receipt(log, 2)), RECORDS[0], BODIES.hashes())
    with pytest.raises(Unproven, match=r"entry\.signature"):
        check(data, verifier(log))


def test_a_public_entry_is_not_shown_so() -> None:
    """Governance stands in the log itself; its records have no two parts."""
    grant = parse_leaf(LOG.leaves[1])
    proof = parse_proof(receipt(LOG, 1))
    extra = codec.decode(parse_proof(DATA).extra or b"") | {"leaf": grant.raw}
    data = format_proof(replace(proof, extra=codec.encode(extra)))
    with pytest.raises(Unproven, match=r"record\.proof.*public"):
        check(data)


@pytest.mark.parametrize(
    "extra",
    [
        None,
        b"\x80",
        LOG.leaves[2],
        codec.encode({"leaf": LOG.leaves[2]}),
        codec.encode([1, 2, 3]),
        codec.encode({"leaf": b"", "owner_hash": bytes(32), "path": [], "position": 0, "shown": b""}),
    ],
    ids=["none", "empty map", "a plain receipt", "a part", "a list", "an empty leaf"],
)
def test_a_proof_of_something_else_is_no_presentation(extra: bytes | None) -> None:
    """A receipt or any other proof is refused by its form."""
    with pytest.raises(Malformed):
        parse_presentation(format_proof(replace(parse_proof(DATA), extra=extra)))


def test_a_record_of_another_entry_is_not_made_into_a_proof() -> None:
    """Making fails early instead of writing a proof that nobody accepts."""
    with pytest.raises(Malformed, match="not of this entry"):
        make_presentation(parse_proof(receipt(LOG, 2)), record(number=55), BODIES.hashes())


def test_a_receipt_without_its_leaf_is_not_made_into_a_proof() -> None:
    """The leaf is what binds the record to the author."""
    bare = replace(parse_proof(receipt(LOG, 2)), extra=None)
    with pytest.raises(Malformed, match="leaf"):
        make_presentation(bare, RECORDS[0], BODIES.hashes())


@given(st.binary(max_size=300))
def test_no_bytes_give_a_traceback(data: bytes) -> None:
    """Any bytes, also as the extra of a good proof, are an error of the ledger's own."""
    proof: TlogProof = parse_proof(DATA)
    for whole in (data, format_proof(replace(proof, extra=data)) if data else data):
        with pytest.raises(LedgerError):
            parse_presentation(whole)
