"""The class register: which pupil a local id and a pseudonym belong to. Names are here and nowhere else.

::

    [signed, signature]
    signed = [1, version, writer key, [[recipient key, sealed content key]...], locked content]

The content, ``{pupils, recovery, until}``, is locked under a random key, which is sealed to the staff key of
each recipient: colleagues of the unit (some until a day), and recovery holders. Anybody could seal a register
to public keys, and so give a child's marks to another child; so the writer signs it, and a reader believes
only its own key and colleagues that it named. The version grows with each writing. On disk it is never in
the clear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cli.language import say
from cli.pupil import Pupil, parse_pupil, pupil_line
from ledger import codec, keys
from ledger.errors import Conflict, Malformed, Unproven
from ledger.keys import SigningKey
from node.durable_file import read_file, replace_file

FORMAT = 1
FILE_BYTES_MAX = 16 * 1024 * 1024
"""100,000 pupils take 8 MB."""
PUPILS_MAX = 100_000
RECIPIENTS_MAX = 64
"""A unit's staff and its recovery holders."""
_DOMAIN = b"pledger/register/v1\x00"

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """A register in memory; version 0 is one that was never written."""

    version: int = 0
    pupils: Mapping[str, Pupil]
    """By local id, in the order in which they were enrolled."""
    recipients: tuple[bytes, ...]
    """Staff and recovery keys (Ed25519) that can open it."""
    recovery: tuple[bytes, ...] = ()
    """Those of them that are recovery holders."""
    until: Mapping[bytes, str] = field(default_factory=dict)
    """The last day (ISO) of a recipient who reads for a time only."""

    def pids(self) -> dict[str, bytes]:
        """Local id to pseudonym."""
        return {local_id: pupil.pid for local_id, pupil in self.pupils.items()}

    def with_pupil(self, pid: bytes) -> Pupil | None:
        """Return the pupil of a pseudonym, if known here."""
        return next((pupil for pupil in self.pupils.values() if pupil.pid == pid), None)

    def adding(self, pupils: Iterable[Pupil]) -> Register:
        """Return the register with further pupils; those whose local id is known already are left alone."""
        new = {pupil.local_id: pupil for pupil in pupils if pupil.local_id not in self.pupils}
        return replace(self, pupils={**self.pupils, **new})

    def readable_by(self, recipients: Iterable[bytes]) -> Register:
        """Return the register with further recipients."""
        return replace(self, recipients=tuple(dict.fromkeys((*self.recipients, *recipients))))

    def knowing(self, pupils: Iterable[Pupil]) -> Register:
        """Return the register with these lines in the place of those of the same local ids, or added."""
        return replace(self, pupils={**self.pupils, **{one.local_id: one for one in pupils}})

    def without_reader(self, key: bytes) -> Register:
        """Return the register that ``key`` will not be able to open any more."""
        return replace(
            self,
            recipients=tuple(one for one in self.recipients if one != key),
            recovery=tuple(one for one in self.recovery if one != key),
            until={one: day for one, day in self.until.items() if one != key},
        )

    def on_day(self, today: str) -> Register:
        """Return the register without the recipients whose last day is before ``today`` (ISO)."""
        register = self
        for key in [one for one, day in self.until.items() if day < today]:
            register = register.without_reader(key)
        return register


def empty_register(own_key: bytes) -> Register:
    """Return a register that only ``own_key`` can open."""
    return Register(pupils={}, recipients=(own_key,))


def seal_register(register: Register, writer: SigningKey, random: RandomBytes) -> bytes:
    """Return the bytes of a register as this writer's next version."""
    if writer.public_key not in register.recipients:
        raise Malformed(say("register.must_read"))
    if len(register.recipients) > RECIPIENTS_MAX or len(register.pupils) > PUPILS_MAX:
        raise Malformed(say("register.limits", readers=RECIPIENTS_MAX, pupils=PUPILS_MAX))
    content_key = random(keys.KEY_BYTES)
    sealed = [
        [key, keys.seal(keys.sealing_key_of(key), content_key, random(keys.SEED_BYTES))]
        for key in register.recipients
    ]
    content = {
        "pupils": [pupil_line(one) for one in register.pupils.values()],
        "recovery": list(register.recovery),
        "until": [[key, day] for key, day in register.until.items()],
    }
    locked = keys.lock(content_key, codec.encode(content), random(keys.NONCE_BYTES))
    signed = codec.encode([FORMAT, register.version + 1, writer.public_key, sealed, locked])
    return codec.encode([signed, writer.sign(_DOMAIN + signed)])


def open_register(data: bytes, reader: SigningKey, trusted: Iterable[bytes] = ()) -> Register:
    """Return the register in ``data``, written by the reader or a ``trusted`` key.

    Raises `Malformed` for other bytes, `Unproven` if it was changed, is not sealed to the reader, or was
    written by somebody else.
    """
    version, writer, recipients, locked = _parse_sealed(data)
    if writer not in {reader.public_key, *trusted}:
        raise Unproven(say("register.stranger", key=writer.hex()))
    if reader.public_key not in recipients:
        raise Unproven(say("register.not_yours"))
    content_key = keys.open_sealed(keys.sealing_seed_of(reader), recipients[reader.public_key])
    content = codec.decode(keys.unlock(content_key, locked), bytes_max=FILE_BYTES_MAX)
    return _parse_content(content, version, tuple(recipients))


def readers_of(data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the key that wrote a register and the keys that open it: they stand outside what is locked."""
    _, writer, recipients, _ = _parse_sealed(data)
    return writer, tuple(recipients)


def read_register(path: Path, reader: SigningKey, trusted: Iterable[bytes] = ()) -> Register:
    """Return the register in a file, or an empty one where there is none yet."""
    if not path.exists():
        return empty_register(reader.public_key)
    try:
        return open_register(read_file(path, bytes_max=FILE_BYTES_MAX), reader, trusted)
    except (Malformed, Unproven) as error:
        raise type(error)(f"{path}: {error}") from None


def write_register(
    path: Path, register: Register, writer: SigningKey, random: RandomBytes, trusted: Iterable[bytes] = ()
) -> Register:
    """Replace the file by the register's next version, durable on return; return that version.

    Raise `Conflict` if the file is no longer the version that ``register`` came from.
    """
    on_disk = read_register(path, writer, trusted)
    if on_disk.version != register.version:
        raise Conflict(say("register.moved", path=path, version=on_disk.version))
    replace_file(path, seal_register(register, writer, random))
    return replace(register, version=register.version + 1)


def _parse_sealed(data: bytes) -> tuple[int, bytes, dict[bytes, bytes], bytes]:
    """Version, writer, recipients and locked content of bytes that the writer signed."""
    match codec.decode(data, bytes_max=FILE_BYTES_MAX):
        case [bytes(signed), bytes(signature)]:
            pass
        case _:
            raise Malformed(say("register.not_one"))
    match codec.decode(signed, bytes_max=FILE_BYTES_MAX):
        case [int(form), int(version), bytes(writer), list(sealed), bytes(locked)] if form == FORMAT:
            pass
        case _:
            raise Malformed(say("register.newer"))
    keys.check_signature(writer, _DOMAIN + signed, signature)
    return version, writer, _recipients(sealed), locked


def _parse_content(content: object, version: int, recipients: tuple[bytes, ...]) -> Register:
    match content:
        case {"pupils": list(pupils), "recovery": list(recovery), "until": list(until), **rest} if not rest:
            pass
        case _:
            raise Malformed(say("register.content_form"))
    days = dict(_last_day(one) for one in until)
    if not {*recovery, *days} <= set(recipients):
        raise Malformed(say("register.readers_unknown"))
    return Register(
        version=version,
        pupils=_pupils(pupils),
        recipients=recipients,
        recovery=tuple(recovery),
        until=days,
    )


def _last_day(value: object) -> tuple[bytes, str]:
    match value:
        case [bytes(key), str(day)]:
            return key, day
    raise Malformed(say("register.until_form"))


def _recipients(sealed: Sequence[object]) -> dict[bytes, bytes]:
    recipients: dict[bytes, bytes] = {}
    for one in sealed[: RECIPIENTS_MAX + 1]:
        match one:
            case [bytes(key), bytes(box)] if len(key) == keys.KEY_BYTES:
                recipients[key] = box
            case _:
                raise Malformed(say("register.readers_form"))
    if len(recipients) != len(sealed):
        raise Malformed(say("register.readers_limit", count=RECIPIENTS_MAX))
    return recipients


def _pupils(content: list[object]) -> dict[str, Pupil]:
    if len(content) > PUPILS_MAX:
        raise Malformed(say("register.pupils_limit", count=PUPILS_MAX))
    pupils = {one.local_id: one for one in map(parse_pupil, content)}
    if len(pupils) != len(content) or len({pupil.pid for pupil in pupils.values()}) != len(content):
        raise Malformed(say("register.once"))
    return pupils
