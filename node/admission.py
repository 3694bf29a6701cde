"""The door: the record verdict on what is submitted, before anything is sequenced.

An invalid record never makes its leaf invalid, so it must be stopped here: the whole entry is refused, and
every record that stands in the way is named. All judgement is ``ledger.portfolio``'s; this module only
gathers what it needs from the stores: opened scopes, and the portfolio of each subject.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.authority import Author
from ledger.chain import Judged
from ledger.entry import PrivateBodies, records_root
from ledger.errors import Malformed
from ledger.governance import Grant, Scope, parse_governance, parse_scope, scope_commitment
from ledger.leaf import Leaf
from ledger.names import Place
from ledger.portfolio import Portfolio, RecordAuthor, add, judge, order_in_entry, record_identity
from ledger.record import Record, parse_record
from ledger.rules import Violation, violation
from ledger.statute import Statute, is_misfiled
from node.body_store import BodyStore, StoredBody, StoredEntry
from node.key_store import KeyStore
from node.submission import Submission


class Admission:
    """Judges the bodies of one commit's submissions, or of one request: portfolios are kept so long."""

    def __init__(self, bodies: BodyStore, keys: KeyStore) -> None:
        """Read through ``bodies``; make blind tags with ``keys``."""
        self._bodies = bodies
        self._keys = keys
        self._portfolios: dict[bytes, Portfolio] = {}

    def admit(
        self, submission: Submission, judged: Judged, author: Author, statute: Statute, place: Place
    ) -> StoredEntry | list[Violation]:
        """Return what to store beside the leaf, or why the entry is refused."""
        entry_id = submission.entry.header.entry_id
        if submission.private is None:
            found = check_scopes(submission.scopes, judged, statute)
            scopes = {scope_commitment(opening): opening for opening in submission.scopes}
            return found or StoredEntry(entry_id=entry_id, place=place, scopes=scopes)
        private = submission.private
        if found := check_root(private, submission):
            return found
        assert judged.leaf is not None
        if self._bodies.holds(entry_id):  # taken before on a branch that the log does not have: itself stands
            return self._stored(private, entry_id, statute, place)
        found = self._judge_records(private.records, author, statute, judged.leaf.day)
        return found or self._stored(private, entry_id, statute, place)

    def stored_again(
        self, submission: Submission, leaf: Leaf, statute: Statute, place: Place
    ) -> StoredEntry | None:
        """Return what a second posting of a sequenced entry may put back: what was signed, and no more."""
        entry_id = leaf.header.entry_id
        if submission.private is None:
            return self._scopes_again(submission, leaf, place)
        if check_root(submission.private, submission):
            return None
        return self._stored(submission.private, entry_id, statute, place)

    def _scopes_again(self, submission: Submission, leaf: Leaf, place: Place) -> StoredEntry | None:
        """The scope openings of a grant's entry that are no longer here."""
        records = [parse_governance(body) for body in leaf.entry.bodies]
        wanted = {record.scope for record in records if isinstance(record, Grant)}
        given = {scope_commitment(opening): opening for opening in submission.scopes}
        lost = {one: given[one] for one in wanted & given.keys() if self._bodies.scope(one) is None}
        return StoredEntry(entry_id=leaf.header.entry_id, place=place, scopes=lost) if lost else None

    def judge_each(
        self, records: Sequence[Record], author: Author, statute: Statute, day: int
    ) -> list[tuple[Record, list[Violation]]]:
        """Return each record of an entry with what it breaks, in the order judged; nothing is kept of it."""
        return self._judge_each(records, author, statute, day)[0]

    def _judge_each(
        self, records: Sequence[Record], author: Author, statute: Statute, day: int
    ) -> tuple[list[tuple[Record, list[Violation]]], dict[bytes, Portfolio]]:
        """The same, and the portfolios as they would be afterwards."""
        writer = RecordAuthor(office=author.office, scopes=self.scopes_of(author))
        changed: dict[bytes, Portfolio] = {}
        judged: list[tuple[Record, list[Violation]]] = []
        for record in order_in_entry(records):
            portfolio = changed.get(record.subject) or self.portfolio(record.subject, statute)
            breaches = judge(portfolio, record, writer, day=day)
            judged.append((record, breaches))
            changed[record.subject] = portfolio if breaches else add(portfolio, record)
        return judged, changed

    def _judge_records(
        self, records: Sequence[Record], author: Author, statute: Statute, day: int
    ) -> list[Violation]:
        """All violations of an entry's records; the portfolios move on only if there is none."""
        judged, changed = self._judge_each(records, author, statute, day)
        found = [breach for _, breaches in judged for breach in breaches]
        if not found:
            self._portfolios |= changed
        return found

    def scopes_of(self, author: Author) -> tuple[Scope, ...]:
        """Return the opened scopes of the author's grants in force; one whose opening was lost is none."""
        openings = (self._bodies.scope(grant.scope) for grant in author.grants)
        return tuple(parse_scope(opening) for opening in openings if opening is not None)

    def portfolio(self, subject: bytes, statute: Statute) -> Portfolio:
        """Return what one subject has, from the bodies held."""
        known = self._portfolios.get(subject)
        if known is None:
            known = Portfolio(statute=statute)
            for record_hash in self._bodies.by_subject(self._keys.subject_tag(subject)):
                body = self._bodies.get(record_hash)
                if body is not None:
                    known = add(known, parse_record(body.owner, body.shown))
            self._portfolios[subject] = known
        return known

    def _stored(self, private: PrivateBodies, entry_id: bytes, statute: Statute, place: Place) -> StoredEntry:
        positions = {hash_: number for number, hash_ in enumerate(private.hashes())}
        records = [self._stored_body(record, positions[record.hash], statute) for record in private.records]
        return StoredEntry(entry_id=entry_id, place=place, padding_seed=private.padding_seed, records=records)

    def _stored_body(self, record: Record, position: int, statute: Statute) -> StoredBody:
        identity = record_identity(statute, record) or record.hash
        return StoredBody(
            record_hash=record.hash,
            position=position,
            owner=record.owner_part,
            shown=record.shown_part,
            subject_tag=self._keys.subject_tag(record.subject),
            identity_tag=self._keys.identity_tag(record.subject, identity),
        )


def misfiled_chain(private: PrivateBodies, bodies: BodyStore) -> list[bytes]:
    """Return the records whose bodies a withdrawal as ``misfiled`` takes with it: they are the wrong child's.

    What the withdrawn record had corrected goes too. It is the same fact about the same wrong child, and with
    the correction's body gone it would stand as live again.
    """
    due: list[bytes] = []
    for record in private.records:
        if is_misfiled(record.fields):
            wrong = record.supersedes
            while wrong is not None and wrong not in due:
                due.append(wrong)
                body = bodies.get(wrong)
                wrong = None if body is None else parse_record(body.owner, body.shown).supersedes
    return due


def check_root(private: PrivateBodies, submission: Submission) -> list[Violation]:
    """Return what is wrong if the records are not those that the author signed."""
    header = submission.entry.header
    try:
        hashes = private.hashes()
        is_same = len(hashes) == header.records_count and records_root(hashes) == header.records_root
    except Malformed as error:
        return [violation("record.root", str(error))]
    return [] if is_same else [violation("record.root", "these records are not those of the signed root")]


def check_scopes(openings: Sequence[bytes], judged: Judged, statute: Statute) -> list[Violation]:
    """Return what is wrong if the openings are not exactly those of the entry's grants."""
    wanted = sorted(record.scope for record in judged.governance if isinstance(record, Grant))
    if sorted(map(scope_commitment, openings)) != wanted:
        return [violation("scope.opening", "each grant needs the opening of its scope, and no other")]
    found = []
    for opening in openings:
        try:
            scope = parse_scope(opening)
        except Malformed as error:
            found.append(violation("scope.opening", str(error)))
            continue
        unknown = [kind for kind in scope.kinds if kind not in statute.kinds]
        if unknown or scope.role not in statute.roles:
            what = ", ".join(unknown) or f"role {scope.role}"
            found.append(violation("scope.opening", f"not on the statutory list: {what}"))
    return found
