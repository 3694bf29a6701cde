"""Further records of pupils who are in the register already, and the register that follows from them.

The order: sign and keep, send, then write the register, unless the node refused the records. A stop before
the last step leaves the old register, and the same command again does no harm: what is recorded is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cli.cells import clean
from cli.desk import Desk
from cli.drafts import Draft, Origin, draft_row
from cli.failures import ListRefused, Usage
from cli.language import say
from cli.outbox import Stored
from cli.profile import Taken, Template
from cli.pupil import Pupil
from cli.records import record_drafts
from cli.sending import Delivery
from cli.table import Row


def known_pupil(desk: Desk, local_id: str) -> Pupil:
    """Return the pupil of a local id as typed; raise `Usage` if there is none."""
    pupil = desk.register.pupils.get(clean(local_id))
    if pupil is None:
        raise Usage(say("class.not_in_it", local_id=repr(local_id)))
    return pupil


def typed_draft(desk: Desk, kind_name: str, pupil: Pupil, cells: Mapping[str, str], typed: str) -> Draft:
    """Return the draft of a record about a known pupil; raise `ListRefused` with all that is wrong.

    ``typed`` is what errors name in the place of a file.
    """
    kind = desk.statute.kinds[kind_name]
    template = Template(kind=kind, columns={name: Taken(column=name) for name in cells})
    row = Row(number=0, cells=cells)
    draft = draft_row(row, pupil.local_id, template, desk.writer(), Origin(file=f"{typed} {pupil.local_id}"))
    if not isinstance(draft, Draft):
        raise ListRefused(draft)
    return draft


def record_changes(
    desk: Desk, drafts: Sequence[Draft], changed: Iterable[Pupil], *, offline: bool
) -> tuple[list[Stored], Delivery | None]:
    """Sign, keep and send; write the changed lines into the register unless the node refused."""
    entries, delivery = record_drafts(desk, drafts, offline=offline)
    outcomes = delivery.of(one.entry_id for one in entries) if delivery else []
    if not any(one.problem for one in outcomes):
        desk.save_register(desk.register.knowing(changed))
    return entries, delivery
