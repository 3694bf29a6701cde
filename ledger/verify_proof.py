"""Judging a single proof: a record shown to an outsider, or a receipt, with the log's key from elsewhere.

With a static tree in hand (`verify_proof`) the whole log is verified too, so that the author's right to write
is judged; with a tlog-policy (`verify_with_key`) only what the proof itself shows. What was not open to the
recipient is named in the warnings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ledger.agency_verifier import AgencyVerifier, Wanted
from ledger.authority import SignedCard
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import LedgerError, Malformed, Unproven
from ledger.keys import VerifyMany, is_signature
from ledger.leaf import Leaf, own_violations, parse_leaf
from ledger.log_verifier import LogVerifier
from ledger.names import Origin, parse_origin
from ledger.note import NoteVerifier, parse_note, verifier_of
from ledger.policy import NO_QUORUM, check_quorum, parse_policy
from ledger.presentation import check_presentation, parse_presentation
from ledger.proof import HEADER, TlogProof, check_proof, parse_proof
from ledger.report import (
    Level,
    LogReport,
    Report,
    count_bodies,
    problem_report,
    sorted_problems,
    with_problem,
)
from ledger.rules import Violation, check_none, violation
from ledger.tree import Source
from ledger.verify import cards_of, open_agencies, read_rosters

NOT_OPEN = "not judged: the pupil, notice, basis, and whether the record was corrected or withdrawn since"
NO_LOG = "not judged: whether the author was granted in this log (give --keys a dossier for that)"


def is_proof(data: bytes) -> bool:
    """Whether a file with this beginning is a ``.tlog-proof``."""
    return data.startswith(HEADER.encode())


def verify_proof(
    data: bytes, source: Source, ledger_id: bytes, check_signatures: VerifyMany, level: Level = "leaf"
) -> Report:
    """Return the report on a proof, with the log in ``source`` verified from ``ledger_id`` on.

    At level ``certified`` the entry must lie below what is certified, by the proof's own cosignatures or by
    the files of its log. The other logs are read for their cards only: their problems are not the proof's.
    """
    try:
        proof = parse_proof(data)
        origin = _origin_of(proof)
    except Malformed as error:
        return problem_report(ledger_id, "record.proof", str(error))
    rosters, found = read_rosters(source, ledger_id)
    if found:
        return problem_report(ledger_id, found[0].rule.name, found[0].detail)
    if origin.ledger != rosters[0].ledger or not any(origin.agency in one.agencies for one in rosters):
        return problem_report(ledger_id, "log.missing", f"no roster in hand names a log {origin}")
    wanted = Wanted(origin.era, proof.index, _checkpoint_of(proof).size)
    agencies = open_agencies(source, ledger_id, rosters, check_signatures, wanted=(origin.agency, wanted))
    [own] = [one for one in agencies if one.agency == origin.agency]
    own.run()
    log = own.main(origin.era)
    keys = log.log_keys() if log else []
    if log is None or not keys:
        return _with(problem_report(ledger_id, "log.missing", f"no valid opening of {origin}"), own)
    report = _judge(data, ledger_id, verifier_of(str(origin), keys[0]), log)
    is_asked = level == "certified" or len(parse_note(proof.checkpoint).lines) > 1
    if len(own.logs) > 1 or (report.logs and is_asked):
        for other in agencies:
            if other is not own:
                other.run()
    own.certify(cards_of(agencies))
    own.judge("leaf")
    if report.logs and is_asked:
        report = _certified(report, proof, log, cards_of(agencies), level)
    return _with(report, own)


def verify_with_key(data: bytes, ledger_id: bytes, policy_text: str, level: Level = "leaf") -> Report:
    """Return the report on a proof under a tlog-policy: its log keys, and its quorum of witnesses.

    A policy without a quorum (``none``) certifies nothing.
    """
    policy = parse_policy(policy_text)
    try:
        proof = parse_proof(data)
        origin = _origin_of(proof)
    except Malformed as error:
        return problem_report(ledger_id, "record.proof", str(error))
    key = policy.logs.get(str(origin))
    if key is None:
        return problem_report(ledger_id, "log.missing", f"the policy has no key of {origin}")
    report = _judge(data, ledger_id, key, None)
    try:
        check_quorum(policy, parse_note(proof.checkpoint))
    except LedgerError as error:
        return with_problem(report, "log.level", str(error))
    size = 0 if policy.quorum == NO_QUORUM else _checkpoint_of(proof).size
    return _at_level(report, size, proof.index, level)


def _certified(
    report: Report, proof: TlogProof, log: LogVerifier, cards: Mapping[bytes, SignedCard], level: Level
) -> Report:
    """Judge the cosignatures on the proof beside those in the log's files, if both are of one history."""
    checkpoint = _checkpoint_of(proof)
    is_same = log.root_at(checkpoint.size) == checkpoint.root
    found = log.certify_with([parse_note(proof.checkpoint)] if is_same else [], cards)
    return _at_level(report, min(found.size, checkpoint.size), proof.index, level)


def _at_level(report: Report, size: int, index: int, level: Level) -> Report:
    """The report with its certified size, and the problem that this does not reach the entry."""
    report = replace(report, logs=tuple(replace(line, certified_size=size) for line in report.logs))
    if level == "leaf" or not report.logs or index < size:
        return report
    return with_problem(report, "log.level", f"the entry at {index} is not below what is certified, {size}")


def _checkpoint_of(proof: TlogProof) -> Checkpoint:
    return parse_checkpoint(parse_note(proof.checkpoint).text)


def _origin_of(proof: TlogProof) -> Origin:
    return parse_origin(_checkpoint_of(proof).origin)


def _judge(data: bytes, ledger_id: bytes, key: NoteVerifier, log: LogVerifier | None) -> Report:
    """Judge the proof itself, and that the log in hand has the same leaf."""
    try:
        leaf, checkpoint, is_record = _check(data, key)
    except LedgerError as error:
        return problem_report(ledger_id, "record.proof", str(error))
    warnings = [NOT_OPEN] if is_record else []
    found: list[Violation] = []
    if leaf.header.ledger_id != ledger_id:
        found.append(violation("entry.ledger", f"made for ledger {leaf.header.ledger_id.hex()}"))
    if log is None or log.wanted_leaf is None:
        warnings.append(NO_LOG)
    elif log.wanted_leaf.hash != leaf.hash:
        index = log.wanted_leaf.index
        found.append(violation("record.proof", "the log in hand has another leaf there", index=index))
    if log is not None and log.root_at(checkpoint.size) not in (None, checkpoint.root):
        text = f"the log in hand has another root at {checkpoint.size} entries: its key signed two histories"
        found.append(violation("checkpoint.root", text))
    agency, era = parse_origin(checkpoint.origin).agency, parse_origin(checkpoint.origin).era
    line = LogReport(
        origin=checkpoint.origin,
        agency=agency,
        era=era,
        size=checkpoint.size,
        root=checkpoint.root,
        certified_size=0,
    )
    records = 1 if is_record else leaf.header.records_count
    bodies = count_bodies(held=1) if is_record else count_bodies(withheld=records)
    return Report(
        ledger_id=ledger_id,
        logs=(line,),
        entries=1,
        records=records,
        bodies=bodies,
        problems=tuple(sorted_problems(checkpoint.origin, found)),
        warnings=tuple(warnings),
    )


def _check(data: bytes, key: NoteVerifier) -> tuple[Leaf, Checkpoint, bool]:
    """Return leaf, checkpoint, and whether a record is shown; raise `LedgerError` if it does not hold."""
    proof = parse_proof(data)
    try:
        leaf = parse_leaf(proof.extra or b"")
    except Malformed:
        presentation = parse_presentation(data)
        return presentation.leaf, check_presentation(presentation, key), True
    check_none(own_violations(leaf, is_signed=is_signature(*leaf.entry.signed_message)))
    checkpoint = check_proof(proof, leaf.hash, key)
    if parse_origin(checkpoint.origin).agency != leaf.header.agency:
        raise Unproven(f"an entry of {leaf.header.agency} in the log {checkpoint.origin}")
    return leaf, checkpoint, False


def _with(report: Report, own: AgencyVerifier) -> Report:
    """The report with the problems of the agency's log in hand."""
    problems, warnings = (*own.problems(), *report.problems), (*report.warnings, *own.warnings())
    return replace(report, problems=problems, warnings=warnings)
