"""The opening of a log as a file: signed by the root key when a roster is finished, sequenced by the node."""

from __future__ import annotations

from pathlib import Path

from ledger.entry import Entry
from ledger.errors import StoreError
from node.submission import format_entry_file, parse_entry_file

OPENING_FILE = "opening.entry"


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
