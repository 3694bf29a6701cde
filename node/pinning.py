"""Pinning the others' cards: when this node's desk writes a ``roster.adopt``, and which.

Pins decide whose cosignatures count. The desk pins the newest card of each other agency as its mirrored log
shows it, under the newest roster version in hand, and never a lower number. It waits for nobody once all are
known, else a few seconds, as nodes that are founded together come up one after another. However often others
change their cards, adopts are few: each is an entry in this log for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ledger.authority import PlacedCard
from ledger.chain import ChainState
from ledger.entry import sign_public
from ledger.governance import Adopt, format_governance
from ledger.keys import Signer
from ledger.roster import Roster
from node.sequencer import Sequencer
from node.submission import Submission

GATHER_S = 5.0
"""From the first new card until the adopt, where others are still unknown: founders start within seconds."""
BURST = 4
REFILL_S = 30.0
"""Adopts in a row, and then one in so many seconds: a ledger of 89 that is founded in an afternoon needs some
dozens, and a card a second from a hostile agency makes no more."""

Pins = Mapping[str, tuple[int, bytes] | None]


def wanted_adopt(
    state: ChainState, others: Mapping[str, ChainState], rosters: Sequence[Roster]
) -> Adopt | None:
    """Return the adopt that says more than the one that holds in the own log, or None.

    ``others`` are the mirrored logs by agency, ``rosters`` the versions in hand in their order. Under a
    version that ends this agency, or gives it another root key, no desk goes on by itself.
    """
    before, agency = state.authority.adopt, state.origin.agency
    if before is None:
        return None
    fitting = [one for one in rosters if one.agencies.get(agency) == state.authority.root_key]
    roster = max([before.roster, *fitting], key=lambda one: one.version)
    pins = {
        name: _pin(before.adopt.cards.get(name), others.get(name), roster)
        for name in roster.agencies
        if name != agency
    }
    if roster == before.roster and pins == dict(before.adopt.cards):
        return None
    return Adopt(version=roster.version, hash=roster.hash, cards=pins)


def _pin(
    before: tuple[int, bytes] | None, other: ChainState | None, roster: Roster
) -> tuple[int, bytes] | None:
    """The newest card by the root key that the roster names, if it goes beyond the one pinned."""
    cards: Sequence[PlacedCard] = other.authority.cards if other else ()
    root_key = roster.agencies.get(other.origin.agency) if other else None
    own = [placed for placed in cards if placed.author == root_key]
    if not own or (before is not None and own[-1].card.number <= before[0]):
        return before
    return own[-1].card.number, own[-1].hash


class Pinning:
    """Writes the adopts of one node, on the store's thread."""

    def __init__(
        self,
        *,
        ledger_id: bytes,
        signer: Signer,
        sequencer: Sequencer,
        others: Callable[[], Mapping[str, ChainState]],
        rosters: Callable[[], Sequence[Roster]],
    ) -> None:
        """``signer`` is the desk's key; ``others`` and ``rosters`` as in `wanted_adopt`."""
        self._ledger_id = ledger_id
        self._signer = signer
        self._sequencer = sequencer
        self._others = others
        self._rosters = rosters
        self._since: float | None = None
        self._tokens = float(BURST)
        self._counted_at: float | None = None

    def adopt_if_due(self, at: float, hour: int) -> Adopt | None:
        """Write the adopt that is due at loop time ``at`` (seconds); return it, or None.

        ``hour`` is that of the clock. Raises what refuses it; then it is tried again later.
        """
        self._refill(at)
        wanted = wanted_adopt(self._sequencer.state, self._others(), self._rosters())
        if wanted is None:
            self._since = None
            return None
        if self._since is None:
            self._since = at
        if self._tokens < 1 or (None in wanted.cards.values() and at - self._since < GATHER_S):
            return None
        self._tokens -= 1
        self._since = None
        self._write(wanted, hour)
        return wanted

    def _refill(self, at: float) -> None:
        passed = 0.0 if self._counted_at is None else at - self._counted_at
        self._counted_at = at
        self._tokens = min(float(BURST), self._tokens + passed / REFILL_S)

    def _write(self, adopt: Adopt, hour: int) -> None:
        state = self._sequencer.state
        entry = sign_public(
            [format_governance(adopt)],
            ledger_id=self._ledger_id,
            agency=state.origin.agency,
            created_day=max(hour, state.hour) // 24,
            signer=self._signer,
        )
        self._sequencer.commit_own(Submission(entry=entry), hour, lambda: None)
