"""Card entries: the newest card of each agency with the proof that it is the agency's own, in one file.

::

    [[header, signature, [body, ...]], ...]     canonical msgpack

Each item is a public entry as its leaf carries it (an opening, or a later card): whoever has the roster can
check it without any log. A node serves it; staff tools decide by it whether a receipt is certified
(``certify.is_certified_by_cards``). It does not show that a card is the newest, nor which card a log pins:
for that an auditor reads the logs.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger import codec
from ledger.authority import SignedCard
from ledger.entry import RECORDS_PUBLIC_MAX, Entry, check_parts, parse_header, public_hash, records_root
from ledger.errors import Malformed, Unproven
from ledger.governance import Card, parse_governance
from ledger.keys import VerifyMany, verify_many
from ledger.names import parse_origin
from ledger.roster import AGENCIES_MAX, Roster
from ledger.tiles import ENTRY_BYTES_MAX

CARD_ENTRIES_BYTES_MAX = AGENCIES_MAX * ENTRY_BYTES_MAX
"""One entry of each agency, none longer than its leaf can be."""


def format_card_entries(entries: Iterable[Entry]) -> bytes:
    """Return the bytes that `parse_card_entries` takes."""
    return codec.encode([[one.header.raw, one.signature, list(one.bodies)] for one in entries])


def parse_card_entries(
    data: bytes, roster: Roster, ledger_id: bytes, check_signatures: VerifyMany = verify_many
) -> dict[str, SignedCard]:
    """Return each agency's card with the highest number among those that ``roster`` lets one believe.

    ``roster`` is the newest version in hand. An entry by a key that is not its agency's root key there is
    passed over: it may be of an agency that left, or whose key changed. Raises `Malformed` for any other
    form, `Unproven` where a signature, a root, or the ledger or agency that an entry was made for is false.
    """
    entries = [_parse(item, ledger_id) for item in _items(data)]
    if not all(check_signatures([entry.signed_message for entry in entries])):
        raise Unproven("a card entry is not signed by the key that it names")
    newest: dict[str, SignedCard] = {}
    for entry in entries:
        agency, known = entry.header.agency, newest.get(entry.header.agency)
        card = _card(entry, roster.ledger)
        if roster.agencies.get(agency) != entry.header.author:
            continue
        if known is None or known.card.number < card.card.number:
            newest[agency] = card
    return newest


def _items(data: bytes) -> list[object]:
    value = codec.decode(data, bytes_max=CARD_ENTRIES_BYTES_MAX)
    if not isinstance(value, list) or len(value) > AGENCIES_MAX:
        raise Malformed(f"card entries are a list of at most {AGENCIES_MAX}")
    return value


def _parse(item: object, ledger_id: bytes) -> Entry:
    match item:
        case [bytes(raw), bytes(signature), list(bodies)] if len(bodies) <= RECORDS_PUBLIC_MAX:
            pass
        case _:
            raise Malformed("a card entry is [header, signature, bodies]")
    if not all(isinstance(body, bytes) for body in bodies):
        raise Malformed("the bodies of a card entry are byte strings")
    check_parts(signature)
    header = parse_header(raw)
    if not header.is_public or header.ledger_id != ledger_id:
        raise Unproven(f"a card entry of {header.agency} is private, or of another ledger")
    if (
        header.records_count != len(bodies)
        or records_root(list(map(public_hash, bodies))) != header.records_root
    ):
        raise Unproven(f"the bodies of a card entry of {header.agency} are not those that were signed")
    return Entry(header=header, signature=signature, bodies=tuple(bodies))


def _card(entry: Entry, ledger: str) -> SignedCard:
    """Return the entry's one card, which must be of the entry's agency."""
    records = [(parse_governance(body), body) for body in entry.bodies]
    found = [(record, body) for record, body in records if isinstance(record, Card)]
    if len(found) != 1:
        raise Malformed(f"a card entry of {entry.header.agency} has {len(found)} cards, not one")
    [(card, body)] = found
    origin = parse_origin(card.origin)
    if (origin.ledger, origin.agency) != (ledger, entry.header.agency):
        raise Unproven(f"a card of {card.origin} in an entry of {entry.header.agency}")
    return SignedCard(card=card, hash=public_hash(body), author=entry.header.author)
