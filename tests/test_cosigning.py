"""Gathering cosignatures: what a witness answers costs itself only, and publishing waits for none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ledger.cosignature import cosign
from ledger.note import SignatureLine, parse_note
from node import handlers
from node.authentication import Authenticator
from node.cosigning import IN_FLIGHT_MAX_S, RETRY_MAX_S, Cosigning, Later, OtherSize, read_answer
from node.gossip import Gossip
from node.protocol import Request, Response, Unreachable
from node.witness import parse_add_checkpoint
from tests.virtual_loop import VirtualLoop
from tests.witnesses import NOW_S, Around, Ledger, ledger
from tests.world import key

FOUR = ("district", "sport", "centre", "north")
ORIGIN = "test/district/1"
Answer = Callable[[Request], Response]
Then = Callable[[Cosigning], None]


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Ledger]:
    with ledger(tmp_path, FOUR) as made:
        yield made


def run(
    made: Ledger,
    answers: dict[str, Answer] | None = None,
    *,
    until_s: float,
    steps: int = 0,
    then: Then | None = None,
) -> Around:
    """The district's loop for so long; the others answer honestly, or as ``answers`` says."""
    urls = {agency.url: name for name, agency in made.agencies.items()}

    def answer(url: str, request: Request) -> Response:
        if url not in urls:  # the address on a card of these tests
            raise Unreachable(f"nobody is at {url}")
        name = urls[url]
        return (answers or {}).get(name, lambda one: made.answer(name, one))(request)

    around = Around(answer)

    async def main() -> None:
        node = made.nodes["district"]
        cosigning = Cosigning(node, around, Gossip(node, around))
        task = asyncio.create_task(cosigning.run())
        for _ in range(steps):
            await asyncio.sleep(until_s / steps)
            made.append("district", next(_enrolments(made)))
            made.mirror_all()
            cosigning.wake()
        await asyncio.sleep(until_s)
        if then is not None:
            then(cosigning)
            await asyncio.sleep(until_s)
        assert not task.done(), task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    return around


def _enrolments(made: Ledger) -> Iterator[object]:
    for number in range(10_000):
        entry = made.agencies["district"].enrol(f"pupil {number}", number=number)
        entry_id = entry.entry.header.entry_id
        if made.nodes["district"].store.find_entry(ORIGIN, entry_id) is None:
            yield entry


def asked(around: Around, made: Ledger, name: str) -> list[float]:
    """When a witness was asked."""
    return [at for at, url, _ in around.asked if url == made.agencies[name].url]


def refuse(status: int, body: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: Response(status=status, body=body, headers=named)


def dead(request: Request) -> Response:
    raise Unreachable("no answer")


def test_one_round_certifies(four: Ledger) -> None:
    """Each witness is asked once; own and owner's cosignature is the first."""
    around = run(four, until_s=100)
    assert [len(asked(around, four, name)) for name in FOUR[1:]] == [1, 1, 1]
    assert four.certified("district") == 2
    assert all(at < 1 for at, _, _ in around.asked)


@pytest.mark.parametrize("steps", [1, 5])
def test_the_same_text_goes_to_all(four: Ledger, steps: int) -> None:
    """However busy the log is: no size is shown to one witness alone."""
    four.append("district", four.agencies["district"].grant())
    four.mirror_all()
    around = run(four, until_s=60, steps=steps)
    texts: dict[str, set[str]] = {}
    for _, url, request in around.asked:
        note = parse_note(parse_add_checkpoint(request.body).note)
        texts.setdefault(note.text, set()).add(url)
    assert len(texts) == steps + 1 and all(len(urls) == 3 for urls in texts.values())
    assert four.certified("district") == 3 + steps


LATER: dict[str, Answer] = {
    "404 of an unknown log": refuse(404),
    "403 of an unknown log": refuse(403, b"unknown origin"),
    "409 under load": refuse(409, b"busy"),
    "409 with the size that was sent": refuse(409, b"0\n"),
    "422": refuse(422),
    "429": refuse(429),
    "500": refuse(500),
    "503": refuse(503),
    "a redirect": refuse(302),
    "garbage": refuse(200, b"\xff\x00garbage" * 100),
    "nothing": refuse(200, b""),
    "a megabyte of lines": refuse(200, "— a AAAAAAAA\n".encode() * 100_000),
    "no answer": dead,
}


@pytest.mark.parametrize("name", LATER)
def test_a_witness_that_does_not_cosign_is_asked_less_and_less(four: Ledger, name: str) -> None:
    """Ten minutes: some twenty questions, not thousands; the others certify meanwhile."""
    around = run(four, {"sport": LATER[name]}, until_s=600)
    times = asked(around, four, "sport")
    assert 10 <= len(times) <= 25
    assert max(after - before for before, after in pairwise(times)) <= RETRY_MAX_S + 1
    assert times[-1] - times[-2] >= RETRY_MAX_S / 2
    assert four.certified("district") == 2
    names = [line.split()[1] for line in four.nodes["district"].store.cosignatures(ORIGIN, 2)]
    assert "test/sport/witness" not in names and len(names) == 3


def test_a_witness_that_asks_for_time_gets_it(four: Ledger) -> None:
    """Retry-After is obeyed, up to a bound."""
    around = run(four, {"sport": refuse(429, Retry_After="200")}, until_s=450)
    times = asked(around, four, "sport")
    assert len(times) == 3 and times[1] - times[0] >= 200
    around = run(four, {"sport": refuse(503, Retry_After="99999999")}, until_s=1300)
    assert len(asked(around, four, "sport")) == 3


def other_lines(four: Ledger) -> dict[str, Answer]:
    published = four.nodes["district"].tree.published(four.nodes["district"].origin)
    assert published is not None
    text = parse_note(published[0]).text
    by_centre = cosign(text, "test/centre/witness", key("centre witness"), NOW_S)
    by_thief = cosign(text, "test/sport/witness", key("thief"), NOW_S)
    of_another_text = cosign(
        "other\n1\n" + text.split("\n")[2] + "\n", "test/sport/witness", key("sport witness"), 1
    )
    return {
        "another's line": refuse(200, f"{by_centre}\n".encode()),
        "a thief's line": refuse(200, f"{by_thief}\n".encode()),
        "a line on another text": refuse(200, f"{of_another_text}\n".encode()),
    }


@pytest.mark.parametrize("name", ["another's line", "a thief's line", "a line on another text"])
def test_only_the_witness_own_good_line_counts_as_its_answer(four: Ledger, name: str) -> None:
    """Whatever else it gives back is no cosignature of it."""
    around = run(four, {"sport": other_lines(four)[name], "centre": dead, "north": dead}, until_s=100)
    assert len(asked(around, four, "sport")) > 5
    kept = four.nodes["district"].store.cosignatures(ORIGIN, 2)
    assert [line.split()[1] for line in kept] == ["test/district/witness"]


@pytest.mark.parametrize("kind", ["text/x.tlog.size", "application/octet-stream"])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_409_is_understood_with_and_without_its_type(four: Ledger, kind: str, end: bytes) -> None:
    """It names the size from which the witness wants the proof; the next question starts there."""
    four.certify("district")
    with four.nodes["district"]._database.transaction():
        four.nodes["district"]._database.write("DELETE FROM cosignature")
    four.append("district", four.agencies["district"].grant())
    four.mirror_all()

    def answer(request: Request) -> Response:
        response = four.answer("sport", request)
        if response.status != 409:
            return response
        return Response(status=409, body=response.body.strip() + end, content_type=kind)

    around = run(four, {"sport": answer}, until_s=1)
    olds = [
        parse_add_checkpoint(request.body).old
        for _, url, request in around.asked
        if url == four.agencies["sport"].url
    ]
    assert olds == [0, 2] and four.certified("district") == 3


def test_a_witness_that_names_another_size_each_time_is_left_for_later(four: Ledger) -> None:
    """It cannot keep its owner busy."""
    sizes = iter(range(10**6))
    around = run(
        four, {"sport": lambda one: Response(status=409, body=b"%d" % (next(sizes) % 2 + 1))}, until_s=60
    )
    assert len(asked(around, four, "sport")) < 40


def test_a_witness_ahead_of_the_log_is_not_asked_again_for_this_checkpoint(four: Ledger) -> None:
    """It cosigned a newer one, or lies: the next in flight may be beyond."""
    around = run(four, {"sport": refuse(409, b"99\n")}, until_s=600)
    assert len(asked(around, four, "sport")) == 1


def test_without_a_quorum_the_newest_takes_over_after_a_while(four: Ledger) -> None:
    """Two dead witnesses of three: what is in flight gives way after its time, so that it never grows old."""
    four.append("district", four.agencies["district"].grant())
    four.mirror_all()
    around = run(four, {"sport": dead, "centre": dead}, until_s=3 * IN_FLIGHT_MAX_S, steps=9)
    given = [
        parse_add_checkpoint(one.body).checkpoint.size for _, url, one in around.asked if "north" not in url
    ]
    sizes = list(dict.fromkeys(given))
    assert sizes == sorted(sizes) and 3 <= len(sizes) <= 6
    assert four.certified("district") == 0


def test_publishing_waits_for_no_witness(four: Ledger) -> None:
    """All dead: entries are sequenced, published and receipted as ever."""
    agency = four.agencies["district"]
    four.append("district", agency.grant())
    run(four, dict.fromkeys(FOUR[1:], dead), until_s=40, steps=3)
    published = four.nodes["district"].tree.published(agency.origin)
    assert published is not None and published[1].size == four.nodes["district"].sequencer.state.size


def test_after_a_restart_the_gathering_goes_on(four: Ledger) -> None:
    """Lines lie in the store: whoever cosigned is asked from where it was, the quorum completes."""
    run(four, {"centre": dead, "north": dead}, until_s=2)
    assert four.certified("district") == 0
    four.restart("district")
    around = run(four, {"sport": dead}, until_s=2)
    assert four.certified("district") == 2
    assert [parse_add_checkpoint(one.body).old for _, _, one in around.asked] == [0, 0]
    assert {url for _, url, _ in around.asked} == {four.agencies[name].url for name in ("centre", "north")}


def test_a_submission_carries_the_cosignatures_so_far(four: Ledger) -> None:
    """A witness with a new key begins behind others: it must see them."""
    four.ask("district", "sport")
    body = four.collector("district").body(four.flight("district"), 0)
    names = [line.name for line in parse_note(parse_add_checkpoint(body).note).lines]
    assert names == [ORIGIN, "test/district/witness", "test/sport/witness"]


def test_a_ledger_of_one_asks_nobody(tmp_path: Path) -> None:
    """At n = 1 nothing is certified."""
    with ledger(tmp_path, ("district",), pinned=False) as made:
        around = run(made, until_s=1000)
        assert around.asked == [] and made.certified("district") == 0


def test_answers_are_read_as_they_are_meant() -> None:
    """Lines, another size, or later."""
    line = cosign("a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", "w", key("w"), 7)
    [read] = read_answer(Response(status=200, body=f"{line}\n".encode()), 0)  # type: ignore[misc]
    assert isinstance(read, SignatureLine) and read.name == "w"
    assert read_answer(Response(status=409, body=b"7\n"), 3) == OtherSize(7)
    for body in (b"3\n", b"07\n", b"-1", b"9" * 30, b"7\n7\n", b""):
        assert isinstance(read_answer(Response(status=409, body=body), 3), Later)
    assert handlers.ADD_CHECKPOINT_PATH == "/witness/add-checkpoint"


def test_a_witness_that_was_silent_is_asked_at_once_when_it_speaks(four: Ledger) -> None:
    """Cut off for ten minutes, a pause of a minute; its own request ends that, and no other pause."""
    dark, answers = [True], {"centre": LATER["503"]}
    answers["sport"] = lambda request: dead(request) if dark[0] else four.answer("sport", request)

    def speaks(cosigning: Cosigning) -> None:
        dark[0] = False
        for name in FOUR:
            cosigning.heard_from(name)

    around = run(four, answers, until_s=600, then=speaks)
    assert next(at for at in asked(around, four, "sport") if at >= 600) < 600.1
    assert next(at for at in asked(around, four, "centre") if at >= 600) > 600.1
    lines = four.nodes["district"].store.cosignatures(ORIGIN, 2)
    assert "test/sport/witness" in [line.split()[1] for line in lines]


def test_questions_to_witnesses_name_the_node_that_asks(four: Ledger) -> None:
    """Each carries the header by which its recipient knows whose bucket to charge."""
    around, node = run(four, until_s=5), four.nodes["sport"]
    [request] = [one for _, url, one in around.asked if url == four.agencies["sport"].url]
    authenticator = Authenticator(node.ledger_id, "sport", node.node_key)
    assert authenticator.sender(request, NOW_S) == "district"


def test_a_node_that_may_not_go_on_asks_once_it_may(four: Ledger) -> None:
    """It hears the others a while after its start: nobody has to publish before the gathering begins."""
    node = four.nodes["district"]
    node.clock_fault = "its clock stands wrong"

    def right(cosigning: Cosigning) -> None:
        node.clock_fault = None

    around = run(four, until_s=100, then=right)
    first = min(at for at, _, _ in around.asked)
    assert 100 <= first <= 102
