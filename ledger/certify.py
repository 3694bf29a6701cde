"""Certification: up to which size a quorum of agencies holds a log, by their cosignatures.

With q = floor(2n/3)+1 of n agencies (the owner's own counted) a checkpoint is certified: held by a quorum,
dated by their clocks. It says nothing about whether a grade is true, and decides no leaf; ``chain`` must
never import this module. At n = 1 nothing is certified.

**Who counts** is decided by the log at the checkpoint's size alone: one cosignature per agency, by the
witness key of the card that the last adopt below the size pins (for the owner its own last card below), if
that card was signed by the agency's root key of the version adopted there. A key that two agencies name
counts once. What a stamp says decides nothing: a retired key counts only below the adopt that pins its
successor.

**Roster changes.** The first certified checkpoint under a later version is the *transition* into it: it needs
also the quorum of the version before, so that the agencies of the old roster confirm up to where the new one
takes over. An agency that the new adopt names counts by the key that this one pins, one that it no longer
names by its last pin. Where the new version only drops agencies the old quorum is not asked (those who left
could block it for ever). If several versions were adopted with no certified checkpoint between them, the
quorum of each of them since the last certified one is needed: else whoever rules the newest could skip over a
version whose quorum never agreed, by adopting once more. Transitions are kept and travel in every dossier;
without the transition into its version no later checkpoint counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ledger.authority import Authority, PlacedAdopt, SignedCard, Standing
from ledger.checkpoint import parse_checkpoint
from ledger.cosignature import is_cosigned
from ledger.governance import Card
from ledger.names import Place, parse_origin, witness_key_name
from ledger.note import TYPE_COSIGNATURE, Note, NoteVerifier, verifier_of
from ledger.roster import Roster

NO_TRANSITIONS: Mapping[int, Note] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """What the notes in hand certify of a log: up to which size, and the transition into each version."""

    size: int
    transitions: Mapping[int, Note]


def is_certified(
    note: Note,
    authority: Authority,
    cards: Mapping[bytes, SignedCard],
    transitions: Mapping[int, Note] = NO_TRANSITIONS,
) -> bool:
    """Whether ``note``, a checkpoint signed by this log's key with the root of its leaves, is certified.

    ``authority`` is the state at the note's size or anywhere beyond (below it no adopt may be undecided),
    ``cards`` maps record hashes to cards that stand in valid logs, ``transitions`` maps roster versions to
    their transitions, certified before. A note that becomes one has its version in `transition_of`.
    """
    rosters = _needed(_terms(note, authority, transitions))
    if not rosters or len(rosters[0].agencies) == 1:
        return False
    cosigners = _cosigners(note, authority.origin.ledger, counting_cards(note, authority, cards, transitions))
    return all(_has_quorum(roster, cosigners) for roster in rosters)


def transition_of(note: Note, authority: Authority) -> int | None:
    """Return the later roster version under which ``note`` stands; None under the first that the log adopted.

    The first certified note of a version is to be kept as the transition into it.
    """
    terms = _standing(note, authority).terms()
    return terms[0].roster.version if len(terms) > 1 else None


def certify(
    notes: Iterable[Note],
    authority: Authority,
    cards: Mapping[bytes, SignedCard],
    before: Mapping[int, Note] = NO_TRANSITIONS,
) -> Certified:
    """Return what ``notes`` certify together, each as in `is_certified`, in whatever order they come.

    ``before`` are the transitions of the eras that this one keeps, below what it keeps.
    """
    size, transitions = 0, dict(before)
    for note in sorted(notes, key=_size):
        if is_certified(note, authority, cards, transitions):
            size = _size(note)
            version = transition_of(note, authority)
            if version is not None:
                transitions.setdefault(version, note)
    return Certified(size=size, transitions=transitions)


def is_certified_by_cards(note: Note, roster: Roster, cards: Mapping[str, Card]) -> bool:
    """Whether a quorum of ``roster``, the newest version in hand, cosigned ``note`` by these agencies' cards.

    For whoever holds a receipt and no log (``cards``, by agency, from ``card_entries``). Weaker than
    `is_certified`: which cards the log pins there is not known, so a newer card may hide a cosignature that
    counts, or an older one count a key that is retired; nor is any transition asked for.
    """
    own = parse_origin(parse_checkpoint(note.text).origin)
    if len(roster.agencies) == 1 or own.ledger != roster.ledger or own.agency not in roster.agencies:
        return False
    return _has_quorum(roster, _cosigners(note, roster.ledger, cards))


def uncounted(
    note: Note,
    authority: Authority,
    cards: Mapping[bytes, SignedCard],
    transitions: Mapping[int, Note] = NO_TRANSITIONS,
) -> list[str]:
    """Return the names on lines that are neither the log's signature nor a cosignature that counts.

    ``transitions`` without the note itself, if it is one: those whom only the old version names count on it.
    """
    counting = counting_cards(note, authority, cards, transitions)
    verifiers = [witness_verifier(authority.origin.ledger, name, card) for name, card in counting.items()]
    known = {(one.name, one.key_id) for one in verifiers if is_cosigned(note, one)}
    card = _standing(note, authority).card
    if card is not None:
        log = verifier_of(str(authority.origin), card.card.log_key)
        known.add((log.name, log.key_id))
    return [line.name for line in note.lines if (line.name, line.key_id) not in known]


def counting_cards(
    note: Note,
    authority: Authority,
    cards: Mapping[bytes, SignedCard],
    transitions: Mapping[int, Note] = NO_TRANSITIONS,
) -> dict[str, Card]:
    """Return, by agency, the card by whose witness key a cosignature on ``note`` counts.

    The owner's is its last below the size; each other agency counts by the newest adopt that names it.
    """
    terms, own = _terms(note, authority, transitions), authority.origin
    voters = {name for roster in _needed(terms) for name in roster.agencies} - {own.agency}
    placed = _standing(note, authority).card
    counting = {} if placed is None else {own.agency: placed.card}
    for term in terms:
        for name in voters.intersection(term.adopt.cards):
            card = _believed(term, name, own.ledger, cards)
            if card is not None:
                counting[name] = card
        voters -= set(term.adopt.cards)
    return counting


def witness_verifier(ledger: str, agency: str, card: Card) -> NoteVerifier:
    """Return what checks the cosignatures of an agency's witness by this card."""
    return verifier_of(witness_key_name(ledger, agency), card.witness_key, TYPE_COSIGNATURE)


def _terms(note: Note, authority: Authority, transitions: Mapping[int, Note]) -> list[PlacedAdopt]:
    """Return the last adopt below the size of each version back to the last certified, the newest first."""
    asked = []
    for term in _standing(note, authority).terms():
        asked.append(term)
        transition = transitions.get(term.roster.version)
        if transition is not None and _place(transition) <= _place(note):
            break
    return asked


def _needed(terms: Sequence[PlacedAdopt]) -> list[Roster]:
    """Return the versions whose quorum is needed, the newest first."""
    later = [
        before.roster for after, before in pairwise(terms) if not _only_drops(before.roster, after.roster)
    ]
    return [*(term.roster for term in terms[:1]), *later]


def _only_drops(before: Roster, after: Roster) -> bool:
    """Whether every agency of ``after`` was one before, with the same root key."""
    return after.agencies.items() <= before.agencies.items()


def _believed(term: PlacedAdopt, agency: str, ledger: str, cards: Mapping[bytes, SignedCard]) -> Card | None:
    """Return the card that the adopt pins, if it is in hand and the agency's own of the version adopted."""
    pin = term.adopt.cards[agency]
    known = cards.get(pin[1]) if pin else None
    if pin is None or known is None or known.author != term.roster.agencies[agency]:
        return None
    origin = parse_origin(known.card.origin)
    is_pinned = (known.card.number, origin.ledger, origin.agency) == (pin[0], ledger, agency)
    return known.card if is_pinned else None


def _cosigners(note: Note, ledger: str, cards: Mapping[str, Card]) -> dict[str, bytes]:
    """Return the witness key of each agency that has cosigned."""
    verifiers = {name: witness_verifier(ledger, name, card) for name, card in cards.items()}
    return {name: one.public_key for name, one in verifiers.items() if is_cosigned(note, one)}


def _has_quorum(roster: Roster, cosigners: Mapping[str, bytes]) -> bool:
    return len({key for name, key in cosigners.items() if name in roster.agencies}) >= roster.quorum


def _standing(note: Note, authority: Authority) -> Standing:
    """Return what the note's own size decides; a checkpoint of another log stands under nothing."""
    checkpoint = parse_checkpoint(note.text)
    is_own = checkpoint.origin == str(authority.origin)
    return authority.standing(checkpoint.size if is_own else 0)


def _place(note: Note) -> Place:
    """Where a checkpoint stands in its agency's log: in its era, after so many leaves."""
    checkpoint = parse_checkpoint(note.text)
    return Place(parse_origin(checkpoint.origin).era, checkpoint.size)


def _size(note: Note) -> int:
    return parse_checkpoint(note.text).size
