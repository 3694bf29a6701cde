"""``pledger outbox send``: once, or with ``--wait`` until everything that waited is with the node.

The workspace is held for each try only, so that other windows go on working while this one waits.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from cli import output
from cli.command import command, home_option
from cli.desk import hold_desk, unlock_workspace
from cli.heard import translated
from cli.language import say
from cli.outbox import Stored
from cli.passphrase import passphrase_option
from cli.patience import is_passing, pauses
from cli.renewing import ASKED_WHOLE_MAX, Finding
from cli.sending import Delivery, Outcome
from cli.told import show_told, tell
from cli.workspace import Workspace, open_workspace
from ledger.errors import Conflict, LedgerError
from ledger.keys import SigningKey

FOUND = ("certified", "sent_again", "contradicts")
"""What is found of accepted entries that JSON names; the rest stands in ``outbox list``, or is an alarm."""
sleep = time.sleep
"""Waiting between two tries; tests put a node's return in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """What one try found to send, and what became of it."""

    entries: tuple[Stored, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Finding, ...] = ()
    stopped: LedgerError | None = None
    is_passing: bool = False


@command("send", "pledger outbox send", "pledger outbox send --again", "pledger outbox send --wait")
@click.option("--again", is_flag=True, help="Send refused entries too, after what was in the way is mended.")
@click.option("--wait", is_flag=True, help="Try again until everything is sent, or you press Ctrl-C.")
@home_option
@passphrase_option
def send_command(again: bool, wait: bool, home: Path, passphrase_file: Path | None) -> None:
    """Send what waits, oldest first. Sending something twice is harmless."""
    workspace = open_workspace(home)
    workspace.target()
    signer = unlock_workspace(workspace, passphrase_file)
    done = _try(workspace, signer, again=again)
    waiting = pauses(random.random)
    tries = [done]
    while wait and done.is_passing:
        pause = next(waiting)
        output.remark(say("outbox.trying", problem=translated(str(done.stopped)), count=f"{pause:.0f}"))
        sleep(pause)
        done = _try(workspace, signer, again=again)
        tries.append(done)
    _show(tries)


def _try(workspace: Workspace, signer: SigningKey, *, again: bool) -> _Try:
    """One try; a workspace in which another command works is like a node that does not answer."""
    try:
        with hold_desk(workspace, signer) as desk:
            renewal = desk.look_after(ASKED_WHOLE_MAX)
            entries = desk.outbox.waiting(with_refused=again)
            delivery = desk.send(with_refused=again) if entries else Delivery(outcomes=())
    except Conflict as error:
        return _Try(stopped=error, is_passing=True)
    return _Try(
        entries=tuple(entries),
        outcomes=delivery.outcomes,
        findings=renewal.findings,
        stopped=delivery.stopped,
        is_passing=is_passing(delivery.stopped),
    )


def _show(tries: Sequence[_Try]) -> None:
    """Tell what became of everything, of all tries together."""
    outcomes = tuple(one for tried in tries for one in tried.outcomes)
    if isinstance(tries[-1].stopped, Conflict):
        raise tries[-1].stopped
    entries = {one.entry_id: one for tried in tries for one in tried.entries}
    answer = tell(list(entries.values()), Delivery(outcomes=outcomes, stopped=tries[-1].stopped))
    findings = [one for tried in tries for one in tried.findings]
    found = {word: _names(findings, word) for word in FOUND}
    certified = [say("outbox.certified", count=len(found["certified"]))] if found["certified"] else []
    if not entries:
        output.show({**answer.value, **found}, say("outbox.nothing_waits"), *certified)
        return
    show_told(replace(answer, parts=(*answer.parts, *certified)), **found)


def _names(findings: Sequence[Finding], word: str) -> list[str]:
    return [one.stored.entry_id.hex() for one in findings if one.word == word]
