"""The door (POST /v1/entries): who knocks with what, what the node answers, and that nothing moved."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import codec, keys
from ledger.entry import DOMAIN, Entry, PrivateBodies, parse_header, records_root
from ledger.errors import StoreError
from ledger.governance import Grant, format_governance, scope_commitment
from ledger.keys import sealing_public_key
from ledger.record import Basis, Record, make_record, padding_hashes
from node import handlers
from node.http_client import HttpClient
from node.protocol import PROBLEM, Problem, Request, Response, check_answer, parse_problem
from node.session import check_receipt, fetch_receipt
from node.submission import SUBMISSION_BYTES_MAX, Submission
from node.wiring import Node
from tests.agencies import Agency, Nodes, found_agencies, mark, post, records_of, wait_for
from tests.world import DAY, HOUR, World, key, seed


@dataclass
class Door:
    """One agency's node in this process, with two clerks granted and a pupil enrolled."""

    agency: Agency
    node: Node

    def post(self, *bodies: bytes, hour: int = HOUR) -> list[Response]:
        return handlers.answer_submissions(self.node, bodies, hour)

    def take(self, submission: Submission) -> bytes:
        """Post what must be accepted; return the receipt."""
        [response] = self.post(self.agency.seal(submission))
        check_answer(response)
        return response.body

    def get(self, path: str) -> Response:
        return handlers.answer(self.node, Request(method="GET", path=path), HOUR)

    def content(self) -> list[str]:
        """Everything in both databases, as SQL."""
        return dump(self.agency.log_path) + dump(self.agency.log_path.with_name("keys.db"))


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    agency = found_agencies(tmp_path)["district"]
    opened = Door(agency, agency.node())
    for clerk in ("clerk", "colleague"):
        opened.take(agency.grant(clerk))
    opened.take(agency.enrol("anna"))
    yield opened
    opened.node.close()


def submission_of(agency: Agency, entry: Entry, plain: Any, *, sealing: str = "sealing") -> bytes:
    """The bytes of a submission with anything at all as its sealed part."""
    sealed = keys.seal(
        sealing_public_key(seed(f"{agency.name} {sealing}")), codec.encode(plain), seed("once")
    )
    return codec.encode([1, entry.header.raw, entry.signature, list(entry.bodies), sealed])


def plain_of(submission: Submission, **changes: Any) -> dict[str, Any]:
    private = submission.private
    records = [[one.owner_part, one.shown_part] for one in private.records] if private else []
    plain = {"padding_seed": private.padding_seed if private else None, "records": records}
    return plain | {"scopes": list(submission.scopes)} | changes


def _with_records(submission: Submission, records: list[Record]) -> Submission:
    assert submission.private is not None
    return replace(submission, private=replace(submission.private, records=tuple(records)))


Attack = Callable[[Agency], bytes]
ATTACKS: dict[str, tuple[int, str, Attack]] = {}


def attack(status: int, code: str) -> Callable[[Attack], Attack]:
    def add(make: Attack) -> Attack:
        ATTACKS[make.__name__] = (status, code, make)
        return make

    return add


@attack(400, "record.form")
def a_record_with_a_short_salt(agency: Agency) -> bytes:
    honest = agency.enrol("boris")
    plain = plain_of(honest)
    shown = codec.decode(plain["records"][1][1])
    plain["records"][1][1] = codec.encode(shown | {"salt": shown["salt"][:15]})
    return submission_of(agency, honest.entry, plain)


@attack(400, "record.form")
def a_record_with_a_pupils_name_beside_its_fields(agency: Agency) -> bytes:
    honest = agency.enrol("boris")
    plain = plain_of(honest)
    owner = codec.decode(plain["records"][0][0])
    plain["records"][0][0] = codec.encode(owner | {"name": "Boris"})
    return submission_of(agency, honest.entry, plain)


@attack(400, "record.form")
def a_record_of_three_parts(agency: Agency) -> bytes:
    honest = agency.enrol("boris")
    return submission_of(agency, honest.entry, plain_of(honest, records=[[b"", b"", b""]]))


@attack(422, "record.root")
def one_record_left_out(agency: Agency) -> bytes:
    return agency.seal(_with_records(agency.enrol("boris"), records_of("boris")[:2]))


@attack(422, "record.root")
def one_record_exchanged_after_signing(agency: Agency) -> bytes:
    changed = [*records_of("boris")[:2], mark("boris", value="2")]
    return agency.seal(_with_records(agency.enrol("boris"), changed))


@attack(422, "record.root")
def a_record_twice(agency: Agency) -> bytes:
    records = records_of("boris")
    return agency.seal(_with_records(agency.enrol("boris"), [*records, records[0]]))


@attack(400, "node.malformed")
def no_records_at_all(agency: Agency) -> bytes:
    return agency.seal(_with_records(agency.enrol("boris"), []))


@attack(400, "node.malformed")
def nothing_but_padding_and_signed_so(agency: Agency) -> bytes:
    hashes = sorted(padding_hashes(seed("padding"), 4))
    header = [1, agency.world.ledger_id, agency.name, key("district clerk").public_key, DAY, 0, 4]
    raw = codec.encode([*header, records_root(hashes)])
    entry = Entry(header=parse_header(raw), signature=key("district clerk").sign(DOMAIN + raw))
    return submission_of(agency, entry, {"padding_seed": seed("padding"), "records": [], "scopes": []})


@attack(422, "record.root")
def another_padding_seed(agency: Agency) -> bytes:
    honest = agency.enrol("boris")
    assert honest.private is not None
    return agency.seal(replace(honest, private=replace(honest.private, padding_seed=seed("other"))))


@attack(422, "scope.opening")
def a_grant_without_its_opening(agency: Agency) -> bytes:
    return agency.seal(replace(agency.grant("new"), scopes=()))


@attack(422, "scope.opening")
def a_grant_with_the_opening_of_another_scope(agency: Agency) -> bytes:
    return agency.seal(replace(agency.grant("new"), scopes=(agency.scope_opening("clerk"),)))


@attack(422, "scope.opening")
def a_grant_with_an_opening_too_many(agency: Agency) -> bytes:
    honest = agency.grant("new")
    return agency.seal(replace(honest, scopes=(*honest.scopes, agency.scope_opening("clerk"))))


@attack(422, "scope.opening")
def a_grant_for_a_role_that_is_not_on_the_list(agency: Agency) -> bytes:
    return agency.seal(agency.grant("new", role="emperor"))


@attack(422, "scope.opening")
def a_grant_for_a_kind_that_is_not_on_the_list(agency: Agency) -> bytes:
    return agency.seal(agency.grant("new", kinds=("behaviour_score",)))


@attack(422, "scope.opening")
def a_grant_whose_opening_is_no_opening(agency: Agency) -> bytes:
    opening = b"anything that hashes to the commitment"
    grant = Grant(
        key=key("new").public_key, scope=scope_commitment(opening), valid_from=0, valid_until=DAY + 100
    )
    entry = agency.public([format_governance(grant)])
    return agency.seal(Submission(entry=entry, scopes=(opening,)))


@attack(422, "node.unproven")
def sealed_to_another_nodes_key(agency: Agency) -> bytes:
    honest = agency.enrol("boris")
    return submission_of(agency, honest.entry, plain_of(honest), sealing="another")


@attack(400, "node.malformed")
def a_public_entry_with_private_records(agency: Agency) -> bytes:
    grant = agency.grant("new")
    return submission_of(agency, grant.entry, plain_of(agency.enrol("boris")))


@attack(400, "node.malformed")
def a_private_entry_with_scopes(agency: Agency) -> bytes:
    honest = agency.enrol("boris")
    return submission_of(agency, honest.entry, plain_of(honest, scopes=[agency.scope_opening("clerk")]))


@attack(400, "node.malformed")
def a_sealed_part_with_a_key_more(agency: Agency) -> bytes:
    honest = agency.enrol("boris")
    return submission_of(agency, honest.entry, plain_of(honest) | {"note": "hello"})


@attack(422, "entry.signature")
def a_signature_with_one_bit_flipped(agency: Agency) -> bytes:
    honest = agency.enrol("boris")
    signature = bytes([honest.entry.signature[0] ^ 1]) + honest.entry.signature[1:]
    return agency.seal(replace(honest, entry=replace(honest.entry, signature=signature)))


@attack(403, "author.unknown")
def an_author_whom_nobody_granted(agency: Agency) -> bytes:
    return agency.seal(agency.enrol("boris", by="stranger"))


@attack(403, "author.office")
def a_registrar_who_writes_marks(agency: Agency) -> bytes:
    return agency.seal(agency.enrol("boris", by="registrar"))


@attack(422, "entry.ledger")
def an_entry_of_another_ledger(agency: Agency) -> bytes:
    other = replace(agency, world=World(("district",), opened=False, sunset=99_999))
    return agency.seal(other.enrol("boris"))


@attack(422, "entry.agency")
def an_entry_meant_for_another_agency(agency: Agency) -> bytes:
    bodies = PrivateBodies(padding_seed=seed("p"), records=tuple(records_of("boris")))
    log = agency.world.logs["district"]
    entry = log.private(bodies.records, agency="sport")
    return agency.seal(Submission(entry=entry, private=replace(bodies, padding_seed=seed("padding 0"))))


@attack(403, "card.chain")
def the_opening_once_more_under_another_day(agency: Agency) -> bytes:
    log = agency.world.logs["district"]
    return agency.seal(Submission(entry=log.entry([log.card(), log.adopt()], created_day=DAY + 1)))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_refusal_names_its_rule_and_leaves_the_databases_as_they_were(door: Door, name: str) -> None:
    """Status and code are those of the rule, no row of either database moves, the next entry works."""
    status, code, make = ATTACKS[name]
    body, before = make(door.agency), door.content()
    [response] = door.post(body)
    problem = parse_problem(response)
    assert (problem.status, problem.code, response.content_type) == (status, code, PROBLEM)
    assert door.content() == before
    assert door.node.sequencer.state.size == 4
    door.take(door.agency.enrol("boris"))


def test_every_attack_is_refused_over_http_and_the_next_entry_works(tmp_path: Path, nodes: Nodes) -> None:
    """The same answers over a real socket, one after the other, to one node."""
    agency = found_agencies(tmp_path)["district"]
    node = nodes.start(agency)
    with HttpClient(agency.url) as client:
        assert isinstance(post(client, agency, agency.grant()), bytes)
        for status, code, make in ATTACKS.values():
            answer = _post_raw(client, make(agency))
            assert (answer.status, parse_problem(answer).code) == (status, code), make.__name__
            assert answer.content_type == PROBLEM
        wait_for(lambda: node.status()["size"] == 2, "publication")
        assert isinstance(post(client, agency, agency.enrol("boris")), bytes)


def test_an_attack_in_a_batch_does_not_touch_its_neighbours(door: Door) -> None:
    """Honest entries before and behind a refused one in the same transaction are taken."""
    agency = door.agency
    batch = [
        agency.seal(agency.enrol("boris")),
        *(make(agency) for name, (_, _, make) in ATTACKS.items() if name.startswith("a_grant")),
        agency.seal(agency.enrol("vera")),
    ]
    statuses = [one.status for one in door.post(*batch)]
    assert (statuses[0], statuses[-1], set(statuses[1:-1])) == (200, 200, {422})


def test_posting_twice_gives_the_same_entry_and_adds_nothing(door: Door) -> None:
    """Twice in one batch, and again later: one leaf, receipts that all hold, no row more."""
    submission = door.agency.enrol("boris")
    entry_id = submission.entry.header.entry_id
    bodies = [door.agency.seal(submission) for _ in range(2)]
    first, second = door.post(*bodies)
    before = door.content()
    [third] = door.post(door.agency.seal(submission), hour=HOUR + 7)
    fetched = door.get(f"/v1/entries/{entry_id.hex()}")
    places = {
        check_receipt(one.body, entry_id, door.agency.verifier)[0].index
        for one in (first, second, third, fetched)
    }
    assert places == {4}
    assert door.content() == before


def test_a_second_valid_signature_is_no_second_entry(door: Door) -> None:
    """Who has signed once has signed: the same header with any other signature is the entry that stands."""
    submission = door.agency.enrol("boris")
    door.take(submission)
    before = door.content()
    other = replace(submission, entry=replace(submission.entry, signature=bytes(64)))
    door.take(other)
    assert door.content() == before


def test_posting_again_restores_only_what_is_missing(door: Door) -> None:
    """A lost body comes back, an erased one stays erased, what is held is not written again."""
    submission = door.agency.enrol("boris")
    door.take(submission)
    lost, erased, held = (record.hash for record in submission.private.records)  # type: ignore[union-attr]
    bodies = door.node.bodies
    bodies.erase([erased])
    _lose_body(door, lost)
    assert [bodies.state(one) for one in (lost, erased, held)] == ["missing", "erased", "held"]
    rows = set(dump(door.agency.log_path))
    door.take(submission)
    assert [bodies.state(one) for one in (lost, erased, held)] == ["held", "erased", "held"]
    added = set(dump(door.agency.log_path)) - rows
    assert len([row for row in added if 'INTO "body"' in row]) == 1
    assert door.node.sequencer.state.size == 5


def test_posting_again_brings_back_no_body_that_was_not_signed(door: Door) -> None:
    """With the header of a known entry but other records nothing is stored."""
    submission = door.agency.enrol("boris")
    door.take(submission)
    lost = submission.private.records[2].hash  # type: ignore[union-attr]
    _lose_body(door, lost)
    before = door.content()
    door.take(_with_records(submission, [*records_of("boris")[:2], mark("boris", value="2")]))
    assert door.content() == before
    assert door.node.bodies.state(lost) == "missing"


def test_posting_a_grant_again_restores_its_scope(door: Door) -> None:
    """Without the opening nobody knows what a clerk may write: it too can be sent again."""
    agency = door.agency
    door.node.close()
    with sqlite3.connect(agency.log_path) as connection:
        connection.execute("DELETE FROM scope")
    connection.close()
    door.node = agency.node()
    [refused] = door.post(agency.seal(agency.enrol("boris")))
    assert parse_problem(refused).code == "record.scope"
    door.take(agency.grant("clerk"))
    door.take(agency.enrol("boris"))


def test_a_list_imported_by_a_colleague_is_refused_record_by_record(door: Door) -> None:
    """409 names every record that stands already, which one stands, and that it is equal."""
    first = records_of("anna")
    again = door.agency.entry(records_of("anna", 1), by="colleague")
    before = door.content()
    [response] = door.post(door.agency.seal(again))
    problem = parse_problem(response)
    assert (problem.status, problem.code) == (409, "record.identity")
    own = {one.hash: one.kind for one in again.private.records}  # type: ignore[union-attr]
    standing = {one.kind: one.hash for one in first}
    found = {(own[one.record], one.standing, one.is_equal) for one in problem.obstacles if one.record}
    assert found == {(kind, standing[kind], True) for kind in own.values()}
    assert door.content() == before


def test_other_content_for_a_fact_that_stands_is_told_apart(door: Door) -> None:
    """is_equal is false where a colleague has another mark: to be corrected, not dropped."""
    other = door.agency.entry([mark("anna", number=1, value="3")], by="colleague")
    [response] = door.post(door.agency.seal(other))
    [obstacle] = parse_problem(response).obstacles
    assert (obstacle.code, obstacle.is_equal) == ("record.identity", False)


def test_of_two_clerks_at_once_one_wins(door: Door) -> None:
    """In one batch, in one transaction: the first in the queue is taken, the other told what stands."""
    agency = door.agency
    mine = agency.entry([mark("anna", "physics")])
    theirs = agency.entry([mark("anna", "physics", number=1)], by="colleague")
    won, lost = door.post(agency.seal(mine), agency.seal(theirs))
    assert (won.status, lost.status) == (200, 409)
    [obstacle] = parse_problem(lost).obstacles
    assert obstacle.standing == mine.private.records[0].hash  # type: ignore[union-attr]


def test_of_two_clerks_at_once_over_http_one_wins(tmp_path: Path, nodes: Nodes) -> None:
    """Twenty pupils, two clerks, two connections: each fact stands once, the loser sees whose."""
    agency = found_agencies(tmp_path)["district"]
    node = nodes.start(agency)
    with HttpClient(agency.url) as client:
        for clerk in ("clerk", "colleague"):
            assert isinstance(post(client, agency, agency.grant(clerk)), bytes)
    answers: dict[str, list[bytes | Problem]] = {"clerk": [], "colleague": []}
    start = threading.Barrier(2)

    def work(clerk: str, number: int) -> None:
        with HttpClient(agency.url) as client:
            for pupil in range(20):
                submission = agency.enrol(f"pupil {pupil}", by=clerk, number=number)
                start.wait(30)
                answers[clerk].append(post(client, agency, submission))

    threads = [threading.Thread(target=work, args=pair) for pair in (("clerk", 0), ("colleague", 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for pair in zip(*answers.values(), strict=True):
        [lost] = [one for one in pair if isinstance(one, Problem)]
        assert lost.status == 409
    wait_for(lambda: node.status()["size"] == 3 + 20, "publication")


def test_a_submission_cut_off_anywhere_is_malformed(door: Door) -> None:
    """At every length: a client error, never one of the node."""
    body = door.agency.seal(door.agency.enrol("boris"))
    before = door.content()
    cuts = [body[:length] for length in range(len(body))]
    for response in door.post(*cuts):
        assert response.status in (400, 422)
        parse_problem(response)
    assert door.content() == before


def test_a_submission_with_any_byte_flipped_is_refused(door: Door) -> None:
    """Never taken, never an error of the node."""
    body = door.agency.seal(door.agency.enrol("boris"))
    before = door.content()
    flipped = [body[:at] + bytes([body[at] ^ 0x41]) + body[at + 1 :] for at in range(len(body))]
    for response in door.post(*flipped):
        assert 400 <= response.status < 500
    assert door.content() == before


_VALUES = st.recursive(
    st.none() | st.integers(0, 2**63 - 1) | st.binary(max_size=40) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_SPOILED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _encodable(value: object) -> bytes | None:
    try:
        return codec.encode(value)
    except Exception:
        return None


@_SPOILED
@given(value=_VALUES)
def test_garbage_is_a_client_error(door: Door, value: object) -> None:
    """Any canonical value as a submission, or as its sealed part: 4xx, and the node lives on."""
    raw = _encodable(value)
    if raw is None:
        return
    sealed = keys.seal(sealing_public_key(seed("district sealing")), raw, seed("once"))
    entry = door.agency.enrol("boris").entry
    inside = codec.encode([1, entry.header.raw, entry.signature, [], sealed])
    for response in door.post(raw, inside, b"", raw * 3):
        assert 400 <= response.status < 500


@_SPOILED
@given(fields=st.dictionaries(st.sampled_from(["org_id", "date", "value", "term", "x"]), _VALUES, max_size=5))
def test_a_record_of_garbage_fields_is_a_client_error(door: Door, fields: dict[str, Any]) -> None:
    """Signed by a granted clerk, well-formed outside, anything inside: refused by name."""
    for kind in ("enrolment", "subject_result", "notice", "nonsense"):
        for supersedes in (None, records_of("anna")[2].hash):
            try:
                spoiled = _record(kind, fields, supersedes)
            except Exception:  # no canonical form: it cannot be signed at all
                return
            [response] = door.post(door.agency.seal(door.agency.entry([spoiled])))
            assert 400 <= response.status < 500


def _record(kind: str, fields: dict[str, Any], supersedes: bytes | None) -> Record:
    return make_record(
        subject=seed("pid anna")[:16],
        kind=kind,
        period="2024/2025",
        fields=fields,
        basis=Basis(act="none"),
        salts=(bytes(16), bytes(16)),
        supersedes=supersedes,
    )


def test_an_oversize_body_is_refused_over_http(tmp_path: Path, nodes: Nodes) -> None:
    """A clear problem document, whatever the body is, and the node serves on."""
    agency = found_agencies(tmp_path)["district"]
    nodes.start(agency)
    with HttpClient(agency.url) as client:
        beyond = [(SUBMISSION_BYTES_MAX + 1, 413), (3 * SUBMISSION_BYTES_MAX, 413)]
        for size, status in ((SUBMISSION_BYTES_MAX, 400), *beyond):
            answer = _post_raw(client, bytes(size))
            assert answer.status == status and answer.content_type == PROBLEM
        assert isinstance(post(client, agency, agency.grant()), bytes)
        entry_id = agency.grant().entry.header.entry_id
        check_receipt(client.run(fetch_receipt(entry_id)), entry_id, agency.verifier)


def test_a_submission_of_the_full_4096_records_is_taken(door: Door) -> None:
    """The largest entry that an author can sign passes the door whole; again it is known, not refused."""
    pupils = [f"pupil {number}" for number in range(64)]
    marks = [mark(pupil, f"s{number}", number=number) for pupil in pupils for number in range(61)]
    submission = door.agency.entry([one for pupil in pupils for one in records_of(pupil)] + marks)
    assert submission.entry.header.records_count == 4096
    assert door.take(submission)
    before = door.content()
    assert door.take(submission)
    assert door.content() == before


def test_what_the_instance_record_has_not_seen_does_not_leave_the_node(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit whose record cannot be written is no receipt, not even when it is asked for again."""

    def full(size: int, root: bytes, era: int) -> None:
        raise StoreError("log.instance: the disk is full: free some space and try again")

    agency, submission = door.agency, door.agency.enrol("boris")
    path = f"/v1/entries/{submission.entry.header.entry_id.hex()}"
    published = door.node.tree.published(agency.origin)
    with monkeypatch.context() as patch:
        patch.setattr(door.node._instance, "write", full)
        for _ in range(2):
            [response] = door.post(agency.seal(submission))
            assert response.status == 503 and "full" in parse_problem(response).detail
        with pytest.raises(StoreError):
            door.get(path)
        with pytest.raises(StoreError):
            door.node.publish()
        assert door.node.tree.published(agency.origin) == published
    door.take(submission)
    assert door.get(path).status == 200
    record = json.loads(agency.log_path.with_suffix(".instance").read_text())
    assert record["size"] == 5


def _lose_body(door: Door, record_hash: bytes) -> None:
    """Delete a body behind the node's back, as a restored or damaged database would lack it."""
    connection = sqlite3.connect(door.agency.log_path)
    with connection:
        found = connection.execute(
            "SELECT place FROM record WHERE record_hash = ?", (record_hash,)
        ).fetchone()
        connection.execute("DELETE FROM body WHERE place = ?", found)
    connection.close()


def _post_raw(client: HttpClient, body: bytes) -> Response:
    def ask() -> Any:
        return (yield Request(method="POST", path="/v1/entries", body=body))

    answer: Response = client.run(ask())
    return answer
