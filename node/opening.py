"""The opening of a log or of a later era as a file: signed by the root key, sequenced by the node."""

from __future__ import annotations

from pathlib import Path

from ledger.entry import Entry
from ledger.errors import Malformed, StoreError
from ledger.governance import Card, parse_governance
from ledger.names import Origin, parse_origin
from node.durable_file import disk_errors, read_file, replace_file
from node.submission import ENTRY_FILE_BYTES_MAX, format_entry_file, parse_entry_file

OPENING_FILE = "opening.entry"
ERA_FILE = "era.entry"
"""Where the operator puts the opening of a later era; it stays there, and says nothing once that is open."""


def load_opening(directory: Path) -> Entry:
    """Return the opening entry that ``roster finish`` signed into the directory."""
    path = directory / OPENING_FILE
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}: run `pledger roster finish` first") from None
    return parse_entry_file(raw, str(path))


def save_opening(directory: Path, entry: Entry) -> None:
    """Write the opening entry for `load_opening`."""
    (directory / OPENING_FILE).write_bytes(format_entry_file(entry))


def load_era_opening(directory: Path, origin: Origin) -> Entry | None:
    """Return the opening of an era later than ``origin`` that was put here, or None.

    Raises `Malformed` for a file that is no opening of this agency's log.
    """
    path = directory / ERA_FILE
    with disk_errors(path):
        if not path.is_file():
            return None
    entry = parse_entry_file(read_file(path, bytes_max=ENTRY_FILE_BYTES_MAX), str(path))
    named = parse_origin(card_of(entry).origin)
    if (named.ledger, named.agency) != (origin.ledger, origin.agency):
        raise Malformed(f"{path}: it opens {named}, this node has the log of {origin.agency}")
    return entry if named.era > origin.era else None


def save_era_opening(directory: Path, entry: Entry) -> None:
    """Put the opening of a later era where the node takes it from, in one durable step."""
    card_of(entry)
    replace_file(directory / ERA_FILE, format_entry_file(entry))


def card_of(opening: Entry) -> Card:
    """Return the card that an opening brings; `Malformed` if there is none."""
    for body in opening.bodies:
        record = parse_governance(body)
        if isinstance(record, Card):
            return record
    raise Malformed("an opening brings the agency's card")
