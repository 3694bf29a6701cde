"""Another's class register into one's own: nobody is lost, and nobody gets another child's pseudonym.

One pseudonym is one child, whatever the local id. One local id with two pseudonyms is either two children or
one child enrolled twice: which, only a person knows, so it is refused until that person says how.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cli.failures import CellProblem, ListRefused
from cli.language import say
from cli.pupil import Pupil
from cli.register import Register


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The register with the other's pupils; local ids of those added, and of those that differ."""

    register: Register
    added: tuple[str, ...]
    differing: tuple[str, ...]


def merge_pupils(
    register: Register, pupils: Iterable[Pupil], file: str, *, theirs: bool = False, beside: str = ""
) -> Merged:
    """Return the register with ``pupils``; raise `ListRefused` naming each local id of two pseudonyms.

    Of a pupil known here the own line stays, or with ``theirs`` becomes the other's, under the own local id.
    ``beside`` is put behind the local id of those who would else be refused.
    """
    by_pid = {one.pid: one for one in register.pupils.values()}
    taken, added, differing = dict(register.pupils), list[str](), list[str]()
    problems: list[CellProblem] = []
    for pupil in pupils:
        if (own := by_pid.get(pupil.pid)) is not None:
            wanted = replace(pupil, local_id=own.local_id)
            if pupil != own:
                differing.append(own.local_id)
            taken[own.local_id] = wanted if theirs else own
            continue
        if pupil.local_id in taken and beside:
            pupil = replace(pupil, local_id=f"{pupil.local_id}-{beside}")
        if pupil.local_id in taken:
            problems.append(_conflict(pupil, taken[pupil.local_id], file))
            continue
        taken[pupil.local_id] = pupil
        added.append(pupil.local_id)
    if problems:
        raise ListRefused(problems)
    return Merged(register=replace(register, pupils=taken), added=tuple(added), differing=tuple(differing))


def _conflict(pupil: Pupil, own: Pupil, file: str) -> CellProblem:
    text = say("merge.conflict", name=pupil.name, own=own.name, local_id=pupil.local_id)
    return CellProblem(file=file, column="local_id", value=pupil.local_id, text=text)
