"""The tree of errors, by whose fault it is and what the caller can do about it.

Data travels as attributes; the message says what is wrong and where. This module knows neither HTTP
status (``node/handlers``) nor exit codes (``cli/output``): each has one table over these classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.rules import Violation


class LedgerError(Exception):
    """Anything the ledger refuses; the message is fit to show to a person."""


class Malformed(LedgerError):
    """The bytes are not in the one form allowed, or exceed a limit: whoever made them must mend them."""


class Unproven(LedgerError):
    """A signature, hash or Merkle proof does not hold: the bytes are false, or someone else's."""


class Refused(LedgerError):
    """Well-formed and signed, but a rule of the table forbids it; ``violations`` names the rules."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        """``violations`` is not empty and in the table's order."""
        super().__init__("; ".join(str(violation) for violation in violations))
        self.violations = violations


class Conflict(LedgerError):
    """The state moved under the caller (another sequencer, another size): read again and retry."""


class Undecided(LedgerError):
    """Something named by hash is not in hand, so there is no verdict; fetch it and ask again."""


class StoreError(LedgerError):
    """The disk or database cannot do it now (full, read-only, torn): nothing was changed."""
