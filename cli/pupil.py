"""One line of the class register: a pupil with the pseudonym, and what the school needs to move the class on.

On disk a line is ``[local id, pseudonym, name, class, {what else is known}]``; what is not known is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cli.language import say, say_word
from ledger.errors import Malformed
from ledger.record import SUBJECT_BYTES

TEXT_MAX = 120
"""Characters of a name; ids and classes are shorter."""
DECLINED = "declined"
"""The profile of a family that said no: after the enrolment only what a law requires."""
LEVEL = re.compile(r"\d+")
"""What a class is called by begins with its level: ``7а``."""
_FACTS = ("stage", "level", "profile", "left", "alias_of")
_TEXT = re.compile(rf"[^\x00-\x1f\x7f]{{1,{TEXT_MAX}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pupil:
    """The school's id of the child, the pseudonym in the ledger, name, class, and the last enrolment."""

    local_id: str
    pid: bytes
    name: str
    class_name: str
    stage: str = ""
    level: str = ""
    profile: str = ""
    left: str = ""
    """When, where to and how the pupil left; "" for one who is here."""
    alias_of: str = ""
    """The local id that stands for the child, of one who was enrolled twice."""

    def __post_init__(self) -> None:
        texts = {"local_id": self.local_id, "name": self.name, "class": self.class_name}
        texts |= {name: getattr(self, name) for name in _FACTS if getattr(self, name)}
        for what, text in texts.items():
            if not _TEXT.fullmatch(text):
                named = say_word("register", what)
                raise Malformed(say("register.line", what=named, text=repr(text[:40]), count=TEXT_MAX))
        if len(self.pid) != SUBJECT_BYTES:
            raise Malformed(say("register.pid", count=SUBJECT_BYTES))

    @property
    def is_here(self) -> bool:
        """Whether a class is moved on with this pupil in it."""
        return not self.left and not self.alias_of

    def is_of(self, class_name: str) -> bool:
        """Whether the pupil is in a class, or in any of a year where only its level is given."""
        if class_name.isdecimal():
            found = LEVEL.match(self.class_name)
            return (found[0] if found else self.level) == class_name
        return self.class_name.casefold() == class_name.casefold()


def pupil_line(pupil: Pupil) -> list[object]:
    """Return the pupil as a line on disk."""
    facts = {name: getattr(pupil, name) for name in _FACTS if getattr(pupil, name)}
    return [pupil.local_id, pupil.pid, pupil.name, pupil.class_name, facts]


def parse_pupil(line: object) -> Pupil:
    """Return the pupil of a line; raise `Malformed` for any other form."""
    match line:
        case [str(local_id), bytes(pid), str(name), str(class_name), dict(facts)] if set(facts) <= set(
            _FACTS
        ) and all(isinstance(text, str) and text for text in facts.values()):
            return Pupil(local_id=local_id, pid=pid, name=name, class_name=class_name, **facts)
    raise Malformed(say("register.lines_form"))
