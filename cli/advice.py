"""What to do about a rule that refused something, where there is more than one way out.

A node names the rule; what a member of staff types next stands here, once.
"""

from __future__ import annotations

from collections.abc import Mapping

_AGAIN = "then pledger outbox send --again"
_COLLEAGUE = "a colleague signs it again: pledger outbox hand-over ENTRY --to KEY -o FILE"

ADVICE: Mapping[str, str] = {
    "author.unknown": f"have the registrar grant your key, {_AGAIN}; or {_COLLEAGUE}",
    "author.early": f"when your grant holds, type pledger outbox send --again; or {_COLLEAGUE}",
    "author.late": f"your grant has ended: have the registrar grant it again, {_AGAIN}; or {_COLLEAGUE}",
    "author.revoked": f"your key was revoked for good: {_COLLEAGUE}; then pledger staff lost",
    "record.scope": _COLLEAGUE + ", whose role and unit fit",
    "record.declined": "the family declined, and this is not required by law: take the row out (--skip-bad "
    "leaves it out); if the family has changed its mind, pledger class profile LOCAL_ID school_only",
}
"""Rule to what to do; other rules say it themselves."""


def advice_on(reason: str) -> str:
    """Return what to do about a reason such as ``author.late: granted until …``; "" if nothing is known."""
    return ADVICE.get(reason.partition(":")[0], "")
