"""The door for signed requests: who asks what, what each is told, and what a stranger learns: nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ledger import codec, keys
from ledger.errors import LedgerError, Malformed, Unproven
from ledger.governance import Revoke, format_governance
from ledger.record import Record
from ledger.request import AGE_MS_MAX, DOMAIN, Check, Read, format_request, parse_request
from node import handlers
from node.asked import REQUESTS_PATH
from node.asking import ask_check, ask_read
from node.http_client import HttpClient
from node.protocol import PROBLEM, Problem, Request, Response, parse_problem
from node.submission import SUBMISSION_BYTES_MAX, Submission
from node.wiring import Node
from tests.agencies import Agency, Nodes, found_agencies, mark, post, records_of
from tests.asking_side import NOW_MS, Person, take
from tests.test_door import dump
from tests.world import HOUR, record, seed

ANNA = records_of("anna")


@dataclass
class Door:
    """A node with four keys granted and one pupil."""

    agency: Agency
    node: Node

    def person(self, name: str = "clerk") -> Person:
        return Person(self.agency, self.node, name)

    def content(self) -> list[str]:
        """All rows of both databases but the nonces."""
        rows = dump(self.agency.log_path) + dump(self.agency.log_path.with_name("keys.db"))
        return [row for row in rows if 'INSERT INTO "nonce"' not in row]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    agency = found_agencies(tmp_path)["district"]
    opened = Door(agency, agency.node())
    take(
        opened.node,
        agency,
        agency.grant("clerk"),
        agency.grant("stranger", unit="school-9"),
        agency.grant("coach", role="coach"),
        agency.grant("awards", kinds=("contest_award",)),
        agency.enrol("anna"),
    )
    yield opened
    opened.node.close()


# check


def test_a_check_says_of_each_record_what_the_door_would_say(door: Door) -> None:
    """New, recorded, conflict and refused, in the order asked, each with rule and standing record."""
    again = records_of("anna", 1)
    asked = [
        mark("anna", "physics"),
        again[2],
        mark("anna", number=2, value="2"),
        mark("nobody"),
        mark("anna", "chemistry", value="17"),
    ]
    verdicts = door.person().check(*asked)
    assert isinstance(verdicts, list)
    standing = ANNA[2].hash
    assert [(one.word, one.rule, one.standing) for one in verdicts] == [
        ("new", None, None),
        ("recorded", "record.identity", standing),
        ("conflict", "record.identity", standing),
        ("refused", "record.scope", None),
        ("refused", "record.fields", None),
    ]
    assert verdicts[4].text and "value" in verdicts[4].text


def test_a_check_and_the_door_agree(door: Door) -> None:
    """What is called new is taken, what is called anything else is refused under that rule."""
    for asked in (
        mark("anna", "physics"),
        mark("anna", number=1),
        mark("anna", number=2, value="2"),
        mark("x"),
    ):
        verdicts = door.person().check(asked)
        assert isinstance(verdicts, list)
        [response] = handlers.answer_submissions(
            door.node, [door.agency.seal(door.agency.entry([asked]))], HOUR
        )
        if verdicts[0].word == "new":
            assert response.status == 200
        else:
            assert parse_problem(response).code == verdicts[0].rule


def test_a_check_judges_a_whole_list_as_one_entry(door: Door) -> None:
    """Notice and enrolment further down in the list hold for the marks above them; a fact twice conflicts."""
    notice, enrolment, math = records_of("boris")
    verdicts = door.person().check(math, enrolment, notice, mark("boris", number=5, value="2"))
    assert isinstance(verdicts, list)
    assert sorted(one.word for one in verdicts) == ["conflict", "new", "new", "new"]


def test_a_check_writes_nothing(door: Door) -> None:
    """No row but that of the nonce, no leaf, and the same list may be signed and sent afterwards."""
    before, size = door.content(), door.node.sequencer.state.size
    for _ in range(3):
        verdicts = door.person().check(*records_of("boris"))
        assert isinstance(verdicts, list) and {one.word for one in verdicts} == {"new"}
    assert door.content() == before
    assert door.node.sequencer.state.size == size
    take(door.node, door.agency, door.agency.enrol("boris"))


def test_a_check_within_another_scope_is_refused_as_the_door_does(door: Door) -> None:
    """A clerk of another school learns that the rule of scope stands in the way."""
    verdicts = door.person("stranger").check(mark("anna", "physics"))
    assert isinstance(verdicts, list)
    assert [(one.word, one.rule) for one in verdicts] == [("refused", "record.scope")]


def test_a_check_of_the_full_4096_records_and_more_is_answered(door: Door) -> None:
    """Two requests, one list of verdicts."""
    asked = [mark("anna", f"s{number // 60}-{number % 60}", number=number) for number in range(4100)]
    verdicts = door.person().check(*asked)
    assert isinstance(verdicts, list)
    assert [one.word for one in verdicts] == ["new"] * 4100


# read


def test_a_clerk_reads_the_standing_record(door: Door) -> None:
    """Whole, and it hashes to what was asked for."""
    found = door.person().read(ANNA[2].hash)
    assert found == ANNA[2]


def _forbidden(door: Door) -> dict[str, Response]:
    """Every reading that must be refused, by why."""
    taken_back = record(
        "subject_result", subject="anna", number=8, period="2024/2025",
        supersedes=ANNA[2].hash, reason_code="entered_in_error",
    )  # fmt: skip
    answers = {
        "unknown": door.person().post(door.person().sign(Read(record=seed("nothing")))),
        "another unit": door.person("stranger").post(door.person("stranger").sign(Read(record=ANNA[2].hash))),
        "a role that reads no marks": door.person("coach").post(
            door.person("coach").sign(Read(record=ANNA[2].hash))
        ),
        "a scope without the kind": door.person("awards").post(
            door.person("awards").sign(Read(record=ANNA[2].hash))
        ),
    }
    take(door.node, door.agency, door.agency.entry([taken_back], number=9))
    answers["withdrawn"] = door.person().post(door.person().sign(Read(record=ANNA[2].hash)))
    door.node.bodies.erase([ANNA[1].hash])
    answers["erased"] = door.person().post(door.person().sign(Read(record=ANNA[1].hash)))
    return answers


def test_unknown_and_forbidden_look_the_same_byte_for_byte(door: Door) -> None:
    """Nobody learns from a refusal whether a record exists."""
    answers = _forbidden(door)
    first = answers["unknown"]
    assert (first.status, first.content_type, parse_problem(first).code) == (403, PROBLEM, "node.unreadable")
    assert all(one == first for one in answers.values()), answers


def test_a_record_of_padding_or_a_leaf_hash_is_unknown(door: Door) -> None:
    """Only records are read."""
    for one in (door.agency.enrol("anna").private.hashes()[-1], door.node.sequencer.state.head):  # type: ignore
        if one not in {each.hash for each in ANNA}:
            answer = door.person().read(one)
            assert isinstance(answer, Problem) and answer.code == "node.unreadable"


# who may ask


def test_the_same_request_twice_is_answered_once(door: Door) -> None:
    """A replay learns nothing and leaves no second access record."""
    request = door.person().sign(Read(record=ANNA[2].hash))
    assert door.person().post(request).status == 200
    before = door.content()
    again = door.person().post(request)
    assert (again.status, parse_problem(again).code) == (409, "node.nonce")
    assert door.content() == before


def test_a_nonce_stays_spent_for_as_long_as_its_request_is_fresh(door: Door) -> None:
    """A replay minutes later, or by a clock that was set back meanwhile, is one all the same."""
    request = door.person().sign(Read(record=ANNA[2].hash))
    for minutes in (0, 5, -5):
        person = Person(door.agency, door.node, "clerk", NOW_MS + minutes * 60_000)
        assert (person.post(request).status == 200) == (minutes == 0)
        other = person.sign(Check(records=(mark("anna", "physics"),)), created_ms=person.now_ms)
        assert person.post(other).status == 200


def test_a_nonce_stays_spent_over_a_restart(door: Door) -> None:
    """It lies in the database."""
    request = door.person().sign(Check(records=(mark("anna", "physics"),)))
    assert door.person().post(request).status == 200
    door.node.close()
    door.node = door.agency.node()
    assert parse_problem(door.person().post(request)).code == "node.nonce"


def test_two_people_may_draw_the_same_nonce(door: Door) -> None:
    """A nonce is one key's: nobody spends another's."""
    nonce = seed("nonce")[:16]
    for name in ("clerk", "coach"):
        person = door.person(name)
        assert person.post(person.sign(Check(records=(mark("anna", "art"),)), nonce=nonce)).status == 200


@pytest.mark.parametrize("off_ms", [AGE_MS_MAX + 1, -AGE_MS_MAX - 1])
def test_a_stale_request_is_refused_with_the_nodes_time(door: Door, off_ms: int) -> None:
    """A computer whose clock is wrong is told what the node's says; the nonce is not spent."""
    person = door.person()
    request = person.sign(Read(record=ANNA[2].hash))
    person.now_ms = NOW_MS + max(off_ms, 0)
    if off_ms < 0:
        request = person.sign(Read(record=ANNA[2].hash), created_ms=NOW_MS - off_ms)
    before = dump(door.agency.log_path)
    problem = parse_problem(person.post(request))
    assert (problem.status, problem.code, problem.now_ms) == (403, "node.stale", person.now_ms)
    assert dump(door.agency.log_path) == before


@pytest.mark.parametrize("changes", [{"ledger_id": seed("other ledger")}, {"agency": "sport"}])
def test_a_request_to_another_ledger_or_agency_is_refused(door: Door, changes: dict[str, object]) -> None:
    """What was asked elsewhere is not carried here."""
    before = dump(door.agency.log_path)
    answer = door.person().post(door.person().sign(Read(record=ANNA[2].hash), **changes))
    assert (answer.status, parse_problem(answer).code) == (422, "node.unproven")
    assert dump(door.agency.log_path) == before


@pytest.mark.parametrize(
    ("name", "code"),
    [("nobody", "author.unknown"), ("registrar", "author.office"), ("desk", "author.office")],
)
def test_a_key_without_a_staff_grant_is_refused_and_writes_nothing(door: Door, name: str, code: str) -> None:
    """Not even a nonce, whatever it asks."""
    before = dump(door.agency.log_path)
    person = door.person(name)
    for action in (Read(record=ANNA[2].hash), Read(record=seed("x")), Check(records=(mark("anna", "art"),))):
        answer = person.post(person.sign(action))
        assert (answer.status, parse_problem(answer).code) == (403, code)
    assert dump(door.agency.log_path) == before


def test_a_revoked_key_reads_no_more(door: Door) -> None:
    """From the revocation on."""
    revoke = Revoke(key=door.person().signer.public_key, suspect_from=None)
    take(door.node, door.agency, Submission(entry=door.agency.public([format_governance(revoke)])))
    answer = door.person().read(ANNA[2].hash)
    assert isinstance(answer, Problem) and answer.code == "author.revoked"


def test_a_request_signed_by_another_key_than_it_names_is_refused(door: Door) -> None:
    """A thief of nothing but the public key."""
    honest = door.person().sign(Read(record=ANNA[2].hash))
    forged = replace(honest, signature=door.person("coach").signer.sign(DOMAIN + honest.raw))
    assert parse_problem(door.person().post(forged)).code == "node.unproven"


def test_an_answer_is_opened_by_the_asker_only(door: Door) -> None:
    """Nothing of the record stands in it in the clear, no other key opens it."""
    person = door.person()
    answer = person.post(person.sign(Read(record=ANNA[2].hash)))
    assert b"math" not in answer.body and ANNA[2].shown_part not in answer.body
    with pytest.raises(Unproven):
        keys.open_sealed(keys.sealing_seed_of(door.person("coach").signer), answer.body)
    assert ANNA[2].shown_part in keys.open_sealed(keys.sealing_seed_of(person.signer), answer.body)


def test_a_request_shows_nothing_to_whoever_carries_it(door: Door) -> None:
    """Neither who asks nor about what."""
    procedure = ask_check([mark("anna", "physics")], door.person().asker())
    body = next(procedure).body
    for secret in (b"physics", door.person().signer.public_key, seed("pid anna")[:16], b"check"):
        assert secret not in body


def test_an_answer_forged_by_somebody_in_between_is_not_believed(door: Door) -> None:
    """Anybody can seal to a staff key; only the node knows the request's id."""
    person = door.person()
    for forged in ({"verdicts": [["recorded", None, None, None]]}, {"parts": [b"", b""]}):
        plain = codec.encode([1, seed("a guess"), forged])
        body = keys.seal(keys.sealing_key_of(person.signer.public_key), plain, os.urandom(32))
        procedure = ask_check([mark("anna", "physics")], person.asker())
        next(procedure)
        with pytest.raises(Unproven, match="another request"):
            procedure.send(Response(status=200, body=body))


def test_an_honest_answer_with_another_record_is_not_believed(door: Door) -> None:
    """What was asked for by its hash must hash to it."""
    person = door.person()
    procedure = ask_read(ANNA[2].hash, person.asker())
    request = next(procedure)
    opened = keys.open_sealed(seed("district sealing"), request.body)
    plain = codec.encode([1, parse_request(opened).id, {"parts": [ANNA[1].owner_part, ANNA[1].shown_part]}])
    body = keys.seal(keys.sealing_key_of(person.signer.public_key), plain, os.urandom(32))
    with pytest.raises(Unproven, match="another record"):
        procedure.send(Response(status=200, body=body))


def test_garbage_is_a_client_error_and_writes_nothing(door: Door) -> None:
    """Unsealed, sealed to another, cut off, of another form: 4xx, and the node answers on."""
    person, before = door.person(), dump(door.agency.log_path)
    data = format_request(person.sign(Read(record=ANNA[2].hash)))
    answers = [person.post(data[:length]) for length in range(0, len(data), 7)]
    answers += [handlers.answer_request(door.node, body, NOW_MS) for body in (b"", data, bytes(100))]
    elsewhere = keys.seal(keys.sealing_public_key(seed("another")), data, os.urandom(32))
    answers.append(handlers.answer_request(door.node, elsewhere, NOW_MS))
    assert {one.status for one in answers} <= {400, 422}
    assert dump(door.agency.log_path) == before
    assert person.read(ANNA[2].hash) == ANNA[2]


def test_a_node_whose_clock_stands_behind_its_log_answers_nothing(door: Door) -> None:
    """By a wrong clock no right is judged."""
    take(door.node, door.agency, door.agency.enrol("boris"), hour=HOUR + 5)
    answer = door.person().post(door.person().sign(Read(record=ANNA[2].hash)))
    assert answer.status == 503


def test_a_malformed_answer_is_told_as_that(door: Door) -> None:
    """A node of another version gives an error, no traceback."""
    person = door.person()
    for plain in (b"\x01", codec.encode([2, bytes(32), {}]), codec.encode("hello")):
        procedure = ask_read(ANNA[2].hash, person.asker())
        next(procedure)
        body = keys.seal(keys.sealing_key_of(person.signer.public_key), plain, os.urandom(32))
        with pytest.raises(LedgerError) as caught:
            procedure.send(Response(status=200, body=body))
        assert isinstance(caught.value, Malformed)


def test_over_http_check_read_and_refusals_are_the_same(tmp_path: Path, nodes: Nodes) -> None:
    """The same answers over a real socket; the path takes POST only, and bounded bodies."""
    agency = found_agencies(tmp_path)["district"]
    nodes.start(agency)
    person = Person(agency, None)  # type: ignore[arg-type]
    asker = replace(person.asker(), now_ms=time.time_ns() // 1_000_000)
    with HttpClient(agency.url) as client:
        for submission in (agency.grant(), agency.enrol("anna")):
            assert isinstance(post(client, agency, submission), bytes)
        [one] = client.run(ask_check([mark("anna", number=1)], asker))
        assert (one.word, one.standing) == ("recorded", ANNA[2].hash)
        assert client.run(ask_read(ANNA[2].hash, asker)) == ANNA[2]
        assert _answer(client, "GET", b"").status == 405
        for size, status in ((1, 422), (SUBMISSION_BYTES_MAX + 1, 413)):
            assert _answer(client, "POST", bytes(size)).status == status
        assert isinstance(client.run(ask_read(ANNA[1].hash, asker)), Record)


def _answer(client: HttpClient, method: str, body: bytes) -> Response:
    def ask() -> Any:
        return (yield Request(method=method, path=REQUESTS_PATH, body=body))

    answer: Response = client.run(ask())
    return answer
