"""The worked example of docs/FORMAT.md, section 18: a whole small ledger from fixed seeds.

``python -m tests.format_example`` writes it into the document; ``tests/test_format_doc.py`` makes it again
and compares. Nothing here draws randomness, so the same code gives the same bytes.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ledger import note
from ledger.card_entries import format_card_entries
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.cosignature import cosign
from ledger.entry import Entry, PrivateBodies, public_hash, sign_private, sign_public
from ledger.governance import (
    Adopt,
    Card,
    Grant,
    Scope,
    format_governance,
    make_scope,
    scope_commitment,
)
from ledger.keys import SigningKey, sealing_public_key
from ledger.leaf import Leaf, make_leaf
from ledger.merkle import node_hash, prove_inclusion_in, root_of
from ledger.names import recovery_key_name, root_key_name, witness_key_name
from ledger.presentation import make_presentation
from ledger.proof import TlogProof, format_proof
from ledger.record import Basis, Record, make_record, padding_hashes, padding_parts
from ledger.roster import Roster, format_roster, parse_roster, signing_text
from ledger.tiles import encode_bundle

DOCUMENT = Path(__file__).parent.parent / "docs" / "FORMAT.md"
BEGIN, END = "<!-- example: begin -->", "<!-- example: end -->"
LEDGER, AGENCY, ORIGIN = "example", "school", "example/school/1"
DAY = 20_700
COSIGNED_AT = 1_788_480_000
"""The first second of that day."""
WIDTH = 100

DATE = {
    "type": "string",
    "format": "date",
    "pattern": "^20[0-9]{2}-[0-9]{2}-[0-9]{2}$",
    "maxLength": 10,
    "description": "a date such as 2026-09-01",
}
STATUTE: dict[str, Any] = {
    "schema_dialect": "https://json-schema.org/draft/2020-12/schema",
    "acts": {"152-fz": {"title": "О персональных данных", "number": "152-ФЗ", "date": "2006-07-27"}},
    "roles": ["clerk", "guardian", "pupil"],
    "purposes": ["teaching", "portfolio"],
    "kinds": {
        "notice": {
            "basis": "law",
            "act": "152-fz",
            "article": "art. 18",
            "office": "school_office",
            "retention_months": 300,
            "unit_bound": False,
            "writers": [["clerk", "teaching"]],
            "readers": [["guardian", "portfolio"], ["pupil", "portfolio"]],
            "identity": ["shown_on"],
            "period_from": "shown_on",
            "past_dates": ["shown_on"],
            "explanation": {
                "ru": "Запись о том, что семье всё объяснили.",
                "en": "Says that everything was explained to the family.",
            },
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "required": ["lang", "shown_on"],
                "properties": {"lang": {"enum": ["ru", "en"]}, "shown_on": DATE},
            },
        }
    },
}


def seed(name: str) -> bytes:
    """32 bytes that only the name decides."""
    return hashlib.sha256(f"pledger format example {name}".encode()).digest()


def key(name: str) -> SigningKey:
    """The Ed25519 key of a name."""
    return SigningKey(seed(name))


class Example:
    """Every object of the example, each made from those before it."""

    def __init__(self) -> None:
        self.roster = self._roster()
        self.roster_note = self._sign_roster()
        self.card, self.adopt = format_governance(self._card()), format_governance(self._adopt())
        self.opening = self._public(self.card, self.adopt, by="root")
        self.scope = make_scope(Scope(role="clerk", unit="*", kinds=("notice",)), seed("scope salt")[:16])
        self.grant = format_governance(self._grant())
        self.granting = self._public(self.grant, by="registrar")
        self.record = self._record()
        self.bodies = PrivateBodies(padding_seed=seed("padding"), records=(self.record,))
        self.private = sign_private(
            self.bodies, ledger_id=self.roster.hash, agency=AGENCY, created_day=DAY, signer=key("clerk")
        )
        self.leaves = self._leaves()
        self.root = root_of(leaf.hash for leaf in self.leaves)
        self.checkpoint = sign_checkpoint(Checkpoint(origin=ORIGIN, size=3, root=self.root), key("log"))
        vkey = note.format_vkey(note.verifier_of(ORIGIN, key("log").public_key))
        self.vkey = f"{vkey}\n".encode()
        self.cosigned = self._cosign()
        self.card_entries = format_card_entries([self.opening])
        self.receipt = self._receipt()
        self.presentation = make_presentation(self.receipt, self.record, self.bodies.hashes())

    @property
    def files(self) -> dict[str, bytes]:
        """The dossier's members."""
        return {
            "roster/1.json": self.roster.raw,
            "roster/1.note": self.roster_note,
            "log/school/1/checkpoint": self.checkpoint,
            "log/school/1/vkey": self.vkey,
            "log/school/1/tile/0/000.p/3": b"".join(leaf.hash for leaf in self.leaves),
            "log/school/1/tile/entries/000.p/3": encode_bundle([leaf.raw for leaf in self.leaves]),
        }

    def _roster(self) -> Roster:
        agencies = {AGENCY: key("root").public_key}
        raw = format_roster(
            ledger=LEDGER, agencies=agencies, statute=STATUTE, recovery_key=key("recovery").public_key
        )
        return parse_roster(raw)

    def _sign_roster(self) -> bytes:
        text = signing_text(self.roster)
        names = {root_key_name(LEDGER, AGENCY): "root", recovery_key_name(LEDGER): "recovery"}
        return note.format_note(text, [note.sign_note(text, name, key(who)) for name, who in names.items()])

    def _card(self) -> Card:
        return Card(
            origin=ORIGIN,
            number=1,
            before=None,
            log_key=key("log").public_key,
            witness_key=key("witness").public_key,
            node_key=key("node").public_key,
            desk_keys=(key("desk").public_key,),
            sealing_key=sealing_public_key(seed("sealing")),
            registrar_keys=(key("registrar").public_key,),
            urls=("https://school.example",),
            void_from={},
        )

    def _adopt(self) -> Adopt:
        return Adopt(version=1, hash=self.roster.hash, cards={})

    def _grant(self) -> Grant:
        return Grant(
            key=key("clerk").public_key,
            scope=scope_commitment(self.scope),
            valid_from=DAY,
            valid_until=DAY + 300,
        )

    def _record(self) -> Record:
        return make_record(
            subject=seed("pid")[:16],
            kind="notice",
            period="2026/2027",
            basis=Basis(act="152-fz"),
            fields={"lang": "ru", "shown_on": "2026-09-01"},
            salts=(seed("owner salt")[:16], seed("shown salt")[:16]),
        )

    def _public(self, *bodies: bytes, by: str) -> Entry:
        return sign_public(bodies, ledger_id=self.roster.hash, agency=AGENCY, created_day=DAY, signer=key(by))

    def _leaves(self) -> list[Leaf]:
        leaves: list[Leaf] = []
        head = self.roster.hash
        for place, entry in enumerate((self.opening, self.granting, self.private)):
            leaves.append(make_leaf(entry, prev=head, received_hour=24 * DAY + place))
            head = leaves[-1].hash
        return leaves

    def _cosign(self) -> bytes:
        text = note.parse_note(self.checkpoint).text
        line = cosign(text, witness_key_name(LEDGER, AGENCY), key("witness"), COSIGNED_AT)
        return self.checkpoint + f"{line}\n".encode()

    def _receipt(self) -> TlogProof:
        path = prove_inclusion_in([leaf.hash for leaf in self.leaves], 2)
        return TlogProof(extra=self.leaves[2].raw, index=2, hashes=tuple(path), checkpoint=self.checkpoint)


def render() -> str:
    """The section's text between its markers."""
    one = Example()
    a, b, c = (leaf.hash for leaf in one.leaves)
    return "\n".join(
        [
            "### Keys\n",
            *_keys(),
            "\n### roster/1.json\n",
            _verbatim(one.roster.raw),
            f"\nledger id = H(roster/1.json) = `{one.roster.hash.hex()}`\n",
            "### roster/1.note\n",
            _verbatim(one.roster_note),
            "\n### Index 0: the opening, by the root key\n",
            *_public("card", one.card),
            *_public("adopt", one.adopt),
            *_entry(one.opening, one.leaves[0]),
            "### Index 1: a grant, by the registrar\n",
            *_hex("scope opening", one.scope),
            *_hex("commitment = H(00 ‖ scope opening)", scope_commitment(one.scope)),
            *_public("grant", one.grant),
            *_entry(one.granting, one.leaves[1]),
            "### Index 2: a private entry, by the clerk\n",
            *_record(one),
            *_entry(one.private, one.leaves[2]),
            "### Tree, checkpoint, tiles\n",
            *_hex("a = leaf hash 0", a),
            *_hex("b = leaf hash 1", b),
            *_hex("c = leaf hash 2", c),
            *_hex("d = H(01 ‖ a ‖ b)", node_hash(a, b)),
            *_hex("root = H(01 ‖ d ‖ c)", one.root),
            "`log/school/1/checkpoint`:\n",
            _verbatim(one.checkpoint),
            "\n`log/school/1/vkey`:\n",
            _verbatim(one.vkey),
            "\n`log/school/1/tile/0/000.p/3` is a ‖ b ‖ c. `log/school/1/tile/entries/000.p/3` is, for the",
            "three leaves, u16 length ‖ leaf. The verdict on these six files is *verified*, with one log of",
            "size 3, entries 3, records 7, bodies held 3 and withheld 4, no problem, and certified size 0.\n",
            "### A cosignature\n",
            f"The same checkpoint, cosigned by the agency's own witness at {COSIGNED_AT} (one agency alone",
            "certifies nothing):\n",
            _verbatim(one.cosigned),
            "\n### Card entries\n",
            *_hex("[[header, signature, bodies]] of index 0", one.card_entries),
            "### Receipt of entry 2\n",
            _verbatim(format_proof(one.receipt)),
            "\n### Presentation of the record\n",
            _verbatim(one.presentation),
        ]
    )


def _keys() -> list[str]:
    lines = ["| name | seed | public key |", "|---|---|---|"]
    for name in ("root", "recovery", "log", "witness", "node", "desk", "registrar", "clerk"):
        lines.append(f"| {name} | `{seed(name).hex()}` | `{key(name).public_key.hex()}` |")
    sealing = seed("sealing")
    return [*lines, f"| sealing | `{sealing.hex()}` | `{sealing_public_key(sealing).hex()}` |"]


def _record(one: Example) -> list[str]:
    record, padding = one.record, one.bodies.padding_seed
    lines = [
        *_hex("owner part", record.owner_part),
        *_hex("shown part", record.shown_part),
        *_hex("H(owner part)", hashlib.sha256(record.owner_part).digest()),
        *_hex("H(shown part)", hashlib.sha256(record.shown_part).digest()),
        *_hex("record hash = H(00 ‖ H(owner part) ‖ H(shown part))", record.hash),
        *_hex("padding seed", padding),
    ]
    for number, hash_ in enumerate(padding_hashes(padding, 3)):
        owner, shown = padding_parts(padding, number)
        lines += [
            *_hex(f"padding {number}, owner part", owner),
            *_hex(f"padding {number}, shown part", shown),
        ]
        lines += _hex(f"padding {number}, record hash", hash_)
    low, high, third, fourth = one.bodies.hashes()
    return [
        *lines,
        "The record hashes in ascending order, and their tree:\n",
        *_hex("p", low),
        *_hex("q", high),
        *_hex("r", third),
        *_hex("s", fourth),
        *_hex("x = H(01 ‖ p ‖ q)", node_hash(low, high)),
        *_hex("y = H(01 ‖ r ‖ s)", node_hash(third, fourth)),
        *_hex("records_root = H(01 ‖ x ‖ y)", one.private.header.records_root),
    ]


def _public(name: str, body: bytes) -> list[str]:
    return [*_hex(name, body), *_hex(f"H(00 ‖ {name})", public_hash(body))]


def _entry(entry: Entry, leaf: Leaf) -> list[str]:
    return [
        *_hex("header", entry.header.raw),
        *_hex("signature over D ‖ header", entry.signature),
        *_hex("entry id = H(D ‖ header)", entry.header.entry_id),
        *_hex("leaf", leaf.raw),
        *_hex("leaf hash = H(00 ‖ leaf)", leaf.hash),
    ]


def _hex(name: str, data: bytes) -> Iterable[str]:
    return [
        f"{name} ({len(data)} bytes):\n",
        *(f"    {line}" for line in textwrap.wrap(data.hex(), WIDTH)),
        "",
    ]


def _verbatim(data: bytes) -> str:
    return f"```\n{data.decode()}```"


def document_with(example: str) -> str:
    """The document with ``example`` between its markers."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{example}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    DOCUMENT.write_text(document_with(render()), encoding="utf-8")
