"""The one way in which a body leaves this node, and who sees that it did.

`Release.read` decides by ``ledger.disclosure``, writes an `access` record to the journal, and only when
that is durable returns the record. Where the journal cannot be written, nothing is shown. Where the access
record could not stand in the log (no notice, say), nothing is shown either: what cannot be told to the
family does not happen.

Who may read: a staff key by an opened scope in force that names the kind, with a role that the list lets
read it, for that role's purpose (``teaching`` before any other). What the asker is not shown, whatever the
reason, is None: unknown, erased, superseded, another unit's, another role's are one answer. A refusal about
a known child is recorded like a reading, a repeated one counted; a refusal about nobody known here is
counted.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ledger import codec, disclosure
from ledger.authority import Author
from ledger.disclosure import Official
from ledger.governance import Scope
from ledger.portfolio import Portfolio, RecordAuthor, judge
from ledger.record import SALT_BYTES, Basis, Record, make_record, parse_record
from ledger.request import SignedRequest
from ledger.statute import Kind, applied_kind, school_year
from ledger.vocabulary import PURPOSES
from node.admission import Admission
from node.body_store import BodyStore
from node.database import Database
from node.journal import AccessJournal
from node.key_store import KeyStore
from node.sequencer import Sequencer

ACCESS = "access"
"""The kind of record that tells the family who looked."""
_EPOCH = datetime.date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a body passes on its way out."""

    database: Database
    sequencer: Sequencer
    bodies: BodyStore
    data_keys: KeyStore
    journal: AccessJournal
    random: Callable[[int], bytes]

    def read(self, asked: SignedRequest, author: Author, record_hash: bytes, hour: int) -> Record | None:
        """Return the live record of this hash if ``author`` may read it, None for anything else.

        An access record of the answer is durable before this returns.
        """
        admission = Admission(self.bodies, self.data_keys)
        record = self._held(record_hash)
        if record is None:
            self._count(hour)
            return None
        portfolio = admission.portfolio(record.subject, self.sequencer.statute)
        scopes = admission.scopes_of(author)
        official = _official_who_sees(portfolio, record, scopes)
        access = self._access(asked, portfolio, record, official or _first_official(scopes), hour, official)
        if access is None or judge(portfolio, access, RecordAuthor(office="desk"), day=hour // 24):
            self._count(hour)
            return None
        self._write(access, self._repeated(asked, record, hour) if official is None else None)
        return None if official is None else record

    def _held(self, record_hash: bytes) -> Record | None:
        body = self.bodies.get(record_hash)
        return None if body is None else parse_record(body.owner, body.shown)

    def _write(self, access: Record, repeated: bytes | None) -> None:
        with self.database.transaction():
            self.sequencer.check_lease()
            self.journal.add(access, repeated)

    def _count(self, hour: int) -> None:
        with self.database.transaction():
            self.sequencer.check_lease()
            self.journal.count_unknown(hour)

    def _repeated(self, asked: SignedRequest, record: Record, hour: int) -> bytes:
        """What a refusal has in common with its repetitions, blind."""
        what = codec.encode([ACCESS, asked.key, record.kind, hour])
        return self.data_keys.identity_tag(record.subject, what)

    def _access(
        self,
        asked: SignedRequest,
        portfolio: Portfolio,
        record: Record,
        reader: Official | None,
        hour: int,
        shown_to: Official | None,
    ) -> Record | None:
        """The access record; None where there is no role to name, or the list has no such kind any more."""
        statute = portfolio.statute
        kind, access = statute.kinds.get(record.kind), statute.kinds.get(ACCESS)
        if reader is None or kind is None or access is None:
            return None
        return make_record(
            subject=record.subject,
            kind=ACCESS,
            period=school_year(_EPOCH + datetime.timedelta(hours=hour)),
            fields={
                "request_id": asked.id.hex(),
                "requester": asked.key.hex(),
                "role": reader.role,
                "purpose": reader.purpose,
                "kinds": [record.kind],
                "basis_ref": applied_kind(kind, record.fields).act,
                "outcome": "refused" if shown_to is None else "shown",
                "hour": hour,
            },
            basis=Basis(act=access.act),
            salts=(self.random(SALT_BYTES), self.random(SALT_BYTES)),
        )


def _official_who_sees(portfolio: Portfolio, record: Record, scopes: Sequence[Scope]) -> Official | None:
    """The first of the asker's offices that is shown the record, or None."""
    kind = portfolio.statute.kinds.get(record.kind)
    if kind is None:
        return None
    for scope in scopes:
        if record.kind in scope.kinds:
            for official in _officials(kind, scope):
                if record.hash in disclosure.view(portfolio, official).shown:
                    return official
    return None


def _officials(kind: Kind, scope: Scope) -> Iterator[Official]:
    """The offices in which a scope may read a kind: for teaching first, then as the list of purposes goes."""
    purposes = {purpose for role, purpose in kind.readers if role == scope.role}
    for purpose in sorted(purposes, key=PURPOSES.index):
        yield Official(role=scope.role, unit=scope.unit, purpose=purpose)


def _first_official(scopes: Sequence[Scope]) -> Official | None:
    """In which office a refused asker is named."""
    return Official(role=scopes[0].role, unit=scopes[0].unit, purpose=PURPOSES[0]) if scopes else None
