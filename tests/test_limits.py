"""Bounds of askers: token buckets, back-off, node headers and clocks, each on a clock of the test's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from node import authentication, limits
from node.authentication import HEADER, WINDOW_S, Authenticator, authenticated
from node.backoff import Backoff
from node.clocks import ASTRAY_S, Clocks
from node.limits import KEYS_MAX, Limits, Rate, TokenBuckets
from node.protocol import Request
from tests.world import key

ID = b"i" * 32


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    """Whoever is refused is told when to come back, and is served then."""
    buckets = TokenBuckets(Rate(per_second=2, burst=3))
    assert [buckets.spend("a", 1, 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.spend("b", 1, 0.0) == 0
    assert buckets.spend("a", 1, 0.5) == 0
    assert buckets.spend("a", 1, 0.5) > 0
    assert buckets.spend("a", 1, -100.0) > 0


def test_a_cost_above_the_burst_is_not_refused_for_ever() -> None:
    """It takes all there is."""
    buckets = TokenBuckets(Rate(per_second=1, burst=3))
    assert buckets.spend("a", 100, 0.0) == 0
    assert buckets.spend("a", 1, 0.0) == 1


def test_a_flood_of_addresses_costs_bounded_memory() -> None:
    """The oldest are forgotten."""
    buckets = TokenBuckets(Rate(per_second=1, burst=3))
    for number in range(3 * KEYS_MAX):
        buckets.spend(number, 1, 0.0)
    assert len(buckets._left) == KEYS_MAX


def test_an_auditor_of_a_million_entries_is_not_hindered() -> None:
    """8,000 files as fast as they come, while somebody else floods."""
    bounds = Limits()
    assert not any(bounds.pause_s("auditor", "a/1", 0, 0.0) for _ in range(8_000))
    flood = [bounds.pause_s("flood", None, 0, 0.0) for _ in range(20_000)]
    assert flood[-1] > 0 and not bounds.pause_s("auditor", "a/1", 0, 0.0)


def test_bodies_are_charged_by_their_bytes() -> None:
    """A flood of the largest submissions ends long before their number is one."""
    bounds = Limits()
    sent = 0
    while not bounds.pause_s("a", None, 12_000_000, 0.0):
        sent += 12_000_000
    assert sent <= limits.ASKER_BYTES.burst


def test_pauses_grow_with_jitter_and_end() -> None:
    """Doubled each time, up to a bound; a success forgets all of it."""
    backoff: Backoff[str] = Backoff(Random(1), base_s=1, pause_max_s=60)
    pauses = []
    for _ in range(40):
        backoff.fail("a", 100.0)
        pauses.append(backoff.due_at("a") - 100.0)
    assert all(0.5 * min(60, 2**n) <= pause <= 1.5 * min(60, 2**n) for n, pause in enumerate(pauses))
    assert len(set(pauses)) == 40 and backoff.due_at("b") == 0
    backoff.clear("a")
    assert backoff.due_at("a") == 0
    backoff.fail("a", 0.0, pause_min_s=1e9)
    assert backoff.due_at("a") <= 90


REQUEST = Request(method="GET", path="/v1/frontier?wait=30")


def signed(request: Request = REQUEST, **changes: object) -> Request:
    fields = {"ledger_id": ID, "sender": "sport", "recipient": "district", "now_s": 1000}
    return authenticated(request, signer=key("sport node"), **(fields | changes))  # type: ignore[arg-type]


def authenticator() -> Authenticator:
    keys = {"sport": key("sport node").public_key, "centre": key("centre node").public_key}
    return Authenticator(ID, "district", keys.get)


def test_a_header_names_its_sender_once() -> None:
    """A replay is answered like anybody's."""
    door, request = authenticator(), signed()
    assert door.sender(request, 1000) == "sport"
    assert door.sender(request, 1000) is None
    assert door.sender(signed(now_s=1001), 1000) == "sport"


FALSE: dict[str, Callable[[], Request]] = {
    "no header": lambda: REQUEST,
    "another path": lambda: replace(signed(), path="/v1/frontier"),
    "another method": lambda: replace(signed(), method="POST"),
    "another body": lambda: replace(signed(), body=b"x"),
    "another ledger": lambda: signed(ledger_id=bytes(32)),
    "another recipient": lambda: signed(recipient="centre"),
    "another agency's name": lambda: signed(sender="centre"),
    "a stranger": lambda: signed(sender="nobody"),
    "too old": lambda: signed(now_s=1000 - WINDOW_S - 1),
    "too new": lambda: signed(now_s=1000 + WINDOW_S + 1),
    "noise": lambda: replace(REQUEST, headers={HEADER: "sport 1000 x"}),
    "a long time": lambda: replace(REQUEST, headers={HEADER: f"sport {'9' * 5000} x"}),
    "no text": lambda: replace(REQUEST, headers={HEADER: "\udcff"}),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_header_is_no_error_and_names_nobody(name: str) -> None:
    """Whatever it is made of."""
    assert authenticator().sender(FALSE[name](), 1000) is None


def test_what_was_seen_is_bounded_and_never_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound older headers are refused, those forgotten included."""
    monkeypatch.setattr(authentication, "SEEN_MAX", 10)
    door = authenticator()
    requests = [signed(now_s=900 + number) for number in range(30)]
    assert [door.sender(one, 1000) for one in requests] == ["sport"] * 30
    assert [door.sender(one, 1000) for one in requests] == [None] * 30
    assert len(door._seen["sport"]) <= 10


NOW = 1_700_000_000
HOUR = NOW // 3600


def test_a_clock_hours_off_is_told_by_enough_others() -> None:
    """n - q + 1 of them, and most of those heard; set right, it goes on at once."""
    names = [str(number) for number in range(4)]
    clocks = Clocks(lambda: 50.0)
    clocks.hear("1", NOW + 3 * ASTRAY_S)
    assert clocks.reason_to_wait(NOW * 1000, names, HOUR) is None
    clocks.hear("2", NOW + 3 * ASTRAY_S)
    reason = clocks.reason_to_wait(NOW * 1000, names, HOUR)
    assert reason is not None and "1 by 6 hours (they are ahead), 2 by" in reason
    assert clocks.reason_to_wait((NOW + 3 * ASTRAY_S) * 1000, names, HOUR) is None
    clocks.hear("stranger", NOW)


def test_one_wrong_clock_of_three_stops_only_itself() -> None:
    """The two others see that it is one of two; it sees that it is both."""
    names = ["a", "b", "c"]
    right, wrong = Clocks(lambda: 0.0), Clocks(lambda: 0.0)
    right.hear("b", NOW)
    right.hear("c", NOW - 2 * ASTRAY_S)
    assert right.reason_to_wait(NOW * 1000, names, HOUR) is None
    wrong.hear("a", NOW)
    wrong.hear("b", NOW)
    assert wrong.reason_to_wait((NOW - 2 * ASTRAY_S) * 1000, names, HOUR - 4) is not None


def test_a_clock_behind_its_own_log_is_wrong() -> None:
    """An hour is forgiven: the log may be of the last hour."""
    clocks = Clocks(lambda: 0.0)
    assert clocks.reason_to_wait(NOW * 1000, ["a"], HOUR + 1) is None
    assert "2 hours behind" in str(clocks.reason_to_wait(NOW * 1000, ["a"], HOUR + 2))


def test_the_stamp_of_a_cosignature_is_a_time_that_its_clock_has_passed() -> None:
    """An old one, given again, accuses nobody; stamps hours ahead say that this clock stands behind."""
    now_ms, names = 1_700_000_000_000, ["a", "b", "c", "me"]
    clocks = Clocks(lambda: 0.0)
    for name in "abc":
        clocks.hear_stamp(name, now_ms // 1000 - 10 * 3600)
    assert clocks.reason_to_wait(now_ms, names, 0) is None
    for name in "ab":
        clocks.hear_stamp(name, now_ms // 1000 + ASTRAY_S + 60)
        clocks.hear_stamp(name, now_ms // 1000 - 10 * 3600)
    reason = clocks.reason_to_wait(now_ms, names, 0)
    assert reason is not None and "a by 2 hours (they are ahead), b by" in reason
    for name in "ab":  # a frontier tells how it stands, but not less than what it has passed
        clocks.hear(name, now_ms // 1000)
    assert clocks.reason_to_wait(now_ms, names, 0) == reason
    assert clocks.reason_to_wait(now_ms + ASTRAY_S * 1000, names, 0) is None
