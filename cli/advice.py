"""What to do about a rule that refused something, where there is more than one way out.

A node names the rule; what a member of staff types next stands here, once.
"""

from __future__ import annotations

from collections.abc import Mapping

from cli.language import say

ADVICE: Mapping[str, str] = {
    "author.unknown": "refused_by.unknown",
    "author.early": "refused_by.early",
    "author.late": "refused_by.late",
    "author.revoked": "refused_by.revoked",
    "record.scope": "refused_by.scope",
    "record.declined": "refused_by.declined",
}
"""Rule to the message that says what to do; other rules say it themselves."""


def advice_on(reason: str) -> str:
    """Return what to do about a reason such as ``author.late: granted until …``; "" if nothing is known."""
    key = ADVICE.get(reason.partition(":")[0])
    return say(key) if key else ""
