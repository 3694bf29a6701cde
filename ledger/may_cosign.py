"""May a witness cosign a checkpoint, as far as eras and forks decide it, and when is one given up?

A checkpoint that this node cosigned binds it: what it says stays in the log, or a quorum has left it. It is
*given up*, for ever, once n - q + 1 agencies of the roster version under which it stands, other than this
node and the owner, have cosigned a contradicting one of the same or a later era: of the q that would
certify it then too few are left that have not contradicted themselves. Which cosignatures count (by which
card's key) is the caller's to know, as it is for certificates; that the leaves are held and valid, too.

A fork stops its own era only. What a roster's ``ends`` cuts off binds nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ledger.branches import Branches
from ledger.errors import Undecided
from ledger.lineage import is_ended
from ledger.names import Head
from ledger.roster import Ends, quorum_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a node knows of one log when it is asked for a cosignature."""

    branches: Branches
    newest_era: int
    """The last era whose opening is in hand, those left out that ``ends`` cuts off."""
    forked_eras: Collection[int]
    """Eras of which a piece of evidence is in hand. A note whose leaves nobody shows stops only the owner."""
    cosigned: Iterable[Head]
    """What this node cosigned of the log and has not given up: the newest of each branch is enough."""
    ends: Collection[Ends] = ()
    """What the roster versions up to the one that the candidate adopts say of this agency."""


def why_not_cosign(candidate: Head, known: Known) -> str | None:
    """Return why a node must not cosign ``candidate``, in words, or None.

    `Undecided` (raised) if a branch on which the answer rests is not in hand: then it must not either.
    """
    if candidate.era < known.newest_era:
        return f"era {known.newest_era} is open: nothing of era {candidate.era} is cosigned any more"
    if candidate.era in known.forked_eras:
        return f"era {candidate.era} is forked: the agency must open a new era"
    if any(is_ended(candidate, end) for end in known.ends):
        return "a roster version ends the log before it"
    for own in known.cosigned:
        is_bound = not any(is_ended(own, end) for end in known.ends)
        if is_bound and not _agrees(known.branches, candidate, own):
            return f"it leaves out what was cosigned here: {own.size} entries of era {own.era}"
    return None


def is_given_up(
    own: Head,
    cosigned: Mapping[str, Iterable[Head]],
    branches: Branches,
    *,
    agencies: Collection[str],
    node: str,
    owner: str,
) -> bool:
    """Whether ``own``, cosigned by the agency ``node``, is given up.

    ``agencies`` are those of the roster version under which ``own`` stands, ``cosigned`` maps agencies to the
    checkpoints of this log that each cosigned.
    """
    others = [name for name in agencies if name not in (node, owner)]

    def is_against(one: Head) -> bool:
        with suppress(Undecided):  # leaves that are not in hand contradict nothing yet
            return one.era >= own.era and branches.contradict(own, one)
        return False

    against = [name for name in others if any(map(is_against, cosigned.get(name, ())))]
    return len(against) >= contradicting_needed(len(agencies))


def contradicting_needed(count: int) -> int:
    """Return n - q + 1: how many of ``count`` agencies leave too few for a certificate of the other side."""
    return count - quorum_of(count) + 1


def _agrees(branches: Branches, candidate: Head, own: Head) -> bool:
    """Whether ``own`` is in the candidate's history, or (in its own era) the candidate in that of ``own``."""
    if own.era == candidate.era:
        return not branches.contradict(own, candidate)
    return branches.contains(branches.history(candidate), own)
