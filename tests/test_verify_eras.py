"""ledger.agency_verifier: the verdict on a tree with branches, evidence, eras, at each step of a story."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from ledger import fork
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.leaf import parse_leaf
from ledger.merkle import leaf_hash
from ledger.names import Head
from ledger.opening import opening_leaves, sign_opening
from ledger.report import Level, Report
from ledger.roster import Ends
from ledger.verify import verify
from tests.attacks import covers
from tests.eras import (
    Branch,
    branches_of,
    cut,
    dishonest,
    era_after,
    forked,
    nothing,
    plan_for,
    reopened,
    work,
)
from tests.test_chain import later_roster
from tests.test_stranger import agreed
from tests.world import HOUR, Log, MemorySource, key

Files = dict[str, bytes]
ALL = ("centre", "district", "sport")


def tree(main: Log, *branches: Log, eras: tuple[Log, ...] = (), shared: int = 2) -> Files:
    """The world with the district's log forked after ``shared`` leaves, and its later eras."""
    files = main.world.tree()
    files = {name: data for name, data in files.items() if not name.startswith("log/district/")}
    files |= main.files()
    for branch in branches:
        files |= branch.files(branch=leaf_hash(branch.leaves[shared]))
    for era in eras:
        files |= era.files()
    return files


def certified(files: Files, log: Log) -> Files:
    """The files with all agencies' cosignatures on a log's checkpoint."""
    return files | {f"{log.origin.path}/checkpoint.certified": log.cosigned(ALL)}


def judge(files: Files, log: Log, level: Level = "leaf") -> Report:
    """Our verdict, twice the same, and the stranger's."""
    report = verify(MemorySource(files), log.world.ledger_id, level=level)
    assert report.value() == verify(MemorySource(files), log.world.ledger_id, level=level).value()
    agreed(files, log.world.ledger_id, level)
    return report


def codes(report: Report) -> list[str]:
    return [one.violation.rule.name for one in report.problems]


def pinned(parts: list[int], shared: int = 0) -> list[Log]:
    """Branches of a log whose adopt pins the others' cards, so that their cosignatures count."""
    logs = forked([0], shared=shared)
    [log] = logs
    log.take(log.leaf(log.entry([log.adopt(cards=log.pins())])))
    branches = [cut(log) for _ in parts]
    for branch, count in zip(branches, parts, strict=True):
        work(branch, count)
    return branches


@covers("log.forked")
def test_a_story_from_the_fork_to_the_repaired_log() -> None:
    """Open: incomplete. Opening in hand but not certified: still open. Certified: verified."""
    kept, closed = pinned([3, 2])
    open_fork = tree(kept, closed, shared=3)
    assert (judge(open_fork, kept).verdict, codes(judge(open_fork, kept))) == ("incomplete", ["log.forked"])
    new = reopened([kept, closed])
    opened = tree(kept, closed, eras=(new,), shared=3)
    assert (judge(opened, kept).verdict, codes(judge(opened, kept))) == ("incomplete", ["log.forked"])
    report = judge(certified(opened, new), kept, "certified")
    assert [one for one in report.problems if one.log == "test/district/1"] == []
    assert [one for one in report.problems if one.log == "test/district/2"] == []
    assert judge(certified(opened, new), kept).verdict == "verified"
    assert any("closed" in text for text in report.warnings)
    assert {line.origin: line.certified_size for line in report.logs}["test/district/2"] == 3


def test_whichever_branch_is_called_the_main_one() -> None:
    """Nodes that saw the other branch first come to the same verdict."""
    kept, closed = pinned([3, 2])
    new = reopened([kept, closed])
    for main, branch in ((kept, closed), (closed, kept)):
        files = tree(main, branch, eras=(new,), shared=3)
        assert codes(judge(files, kept)) == ["log.forked"]
        assert judge(certified(files, new), kept).verdict == "verified"


@covers("log.owed")
def test_a_branch_surfacing_after_the_repair_is_late_and_owed_until_its_entries_are_appended() -> None:
    """It stops nobody, and every view names what the log lacks."""
    kept, closed, hidden = pinned([3, 2, 1])
    new = reopened([kept, closed])
    files = certified(tree(kept, closed, hidden, eras=(new,), shared=3), new)
    report = judge(files, kept)
    assert (report.verdict, codes(report)) == ("incomplete", ["log.owed"])
    assert parse_leaf(hidden.leaves[-1]).header.entry_id.hex() in report.problems[0].violation.detail
    new.take(new.leaf(parse_leaf(hidden.leaves[-1]).entry, hour=HOUR + 6))
    assert (
        judge(certified(tree(kept, closed, hidden, eras=(new,), shared=3), new), kept).verdict == "verified"
    )


@covers("reconcile.lists")
def test_an_opening_that_drops_an_entry_fails_whoever_certified_it() -> None:
    """Whoever holds the branches can show it; the fault is the owner's."""
    kept, closed = pinned([3, 2])
    new = era_after([kept], Branch(kept).head, 2)
    reconcile = plan_for(new, [kept, closed], [Branch(closed).head]).reconcile
    false = replace(nothing(reconcile.kept), closes=reconcile.closes)
    files = certified(tree(kept, closed, eras=(dishonest(new, false),), shared=3), new)
    report = judge(files, kept)
    assert (report.verdict, codes(report)) == ("failed", ["reconcile.lists"])
    assert report.problems[0].fault == "owner"


@covers("reconcile.missing")
def test_without_the_closed_branches_the_lists_are_undecided() -> None:
    """Nothing is false, and nobody can say that nothing was dropped."""
    kept, closed = pinned([3, 2])
    new = reopened([kept, closed])
    report = judge(certified(tree(kept, eras=(new,)), new), kept)
    assert (report.verdict, codes(report)) == ("incomplete", ["reconcile.missing"])


@covers("reconcile.missing")
def test_an_era_whose_kept_state_is_not_in_hand_is_not_judged() -> None:
    """An auditor who got era 2 alone cannot know who may write in it."""
    kept, closed = pinned([3, 2])
    new = reopened([kept, closed])
    files = {name: data for name, data in tree(kept, eras=(new,)).items() if "district/1" not in name}
    assert set(codes(judge(files, kept))) == {"reconcile.missing", "log.missing"}


@covers("checkpoint.carried")
def test_an_era_with_a_checkpoint_before_all_moved_entries_stand() -> None:
    """A witness that cosigned it could be shown a log without them."""
    kept, closed = pinned([3, 2])
    new = reopened([kept, closed])
    report = judge(tree(kept, closed, eras=(cut(new, 2),), shared=3), kept)
    assert report.verdict == "failed" and "checkpoint.carried" in codes(report)


def test_an_invalid_tail_left_behind_changes_no_verdict() -> None:
    """The owner sequenced a leaf that breaks a rule, and opened an era below it."""
    [log] = pinned([2])
    sound = Branch(cut(log)).head
    log.append(log.leaf(log.entry([log.grant("friend")], by="clerk")))
    assert judge(tree(log), log).verdict == "failed"
    new = reopened([log], kept=sound, reason_code="invalid_tail")
    report = judge(certified(tree(log, eras=(new,)), new), log)
    assert report.verdict == "verified"
    assert any("author.office" in text for text in report.warnings)


def test_an_era_passed_over_is_closed_like_a_branch() -> None:
    """A dishonest era 2 keeps less than a witness cosigned; era 3 goes back to era 1."""
    [log] = pinned([3])
    early = branches_of([log]).head_at(Branch(log), 4)
    wrong = dishonest(era_after([log], early, 2), nothing(early))
    files = tree(log, eras=(wrong,))
    assert codes(judge(files, log)) == ["log.forked"]
    new = reopened([log, wrong], kept=Branch(log).head, era=3)
    assert judge(certified(tree(log, eras=(wrong, new)), new), log).verdict == "verified"


def evidence_of(one: Log, two: Log) -> bytes:
    raw = fork.prove_fork(Branch(one), Branch(two), one.key(one.log_office).public_key)
    assert raw is not None
    return raw


def test_evidence_alone_is_an_open_fork_until_a_later_era_is_certified() -> None:
    """The branch itself need not be in hand."""
    kept, closed = pinned([3, 2])
    files = tree(kept) | {"log/district/1/evidence/0": evidence_of(kept, closed)}
    assert (judge(files, kept).verdict, codes(judge(files, kept))) == ("incomplete", ["log.forked"])
    new = reopened([kept, closed])
    both = tree(kept, closed, eras=(new,), shared=3) | files
    report = judge(certified(both, new), kept)
    assert report.verdict == "verified"
    assert any("was forked" in text for text in report.warnings)
    assert not any("not read" in text for text in report.warnings)


@covers("evidence.form", "evidence.proof")
@pytest.mark.parametrize("case", ["noise", "other key", "other era"])
def test_false_evidence_accuses_whoever_hands_it_over(case: str) -> None:
    """It convicts no key of this log."""
    kept, closed = pinned([3, 2])
    thief = replace(cut(closed), log_office="thief")
    raw = fork.prove_fork(
        Branch(replace(cut(kept), log_office="thief")), Branch(thief), kept.key("thief").public_key
    )
    pieces = {"noise": b"noise", "other key": raw or b"", "other era": evidence_of(kept, closed)}
    era = 2 if case == "other era" else 1
    new = reopened([kept, closed])
    files = certified(tree(kept, closed, eras=(new,), shared=3), new)
    report = judge(files | {f"log/district/{era}/evidence/0": pieces[case]}, kept)
    rule = "evidence.form" if case == "noise" else "evidence.proof"
    assert (report.verdict, codes(report)) == ("failed", [rule])
    assert report.problems[0].fault == "bundle"


def test_two_openings_of_one_era_convict_the_root_key_in_every_dossier() -> None:
    """Both are shown as branches of era 2, and the piece needs the root key alone."""
    kept, closed = pinned([3, 2])
    one = reopened([kept, closed])
    other = reopened([kept, closed], log_office="log two", hour=HOUR + 6)
    raw = fork.prove_openings(parse_leaf(one.leaves[0]), parse_leaf(other.leaves[0]))
    assert raw is not None
    files = certified(tree(kept, closed, eras=(one,), shared=3), one)
    files |= other.files(branch=leaf_hash(other.leaves[0])) | {"log/district/2/evidence/0": raw}
    report = judge(files, kept)
    assert report.verdict == "incomplete" and set(codes(report)) == {"log.forked"}
    assert {one.log for one in report.problems} == {"test/district/2"}
    third = reopened([kept, closed, one, other], era=3, hour=HOUR + 7)
    assert judge(certified(files | third.files(), third), kept).verdict == "verified"


@covers("log.unproven")
def test_a_note_whose_leaves_nobody_shows_is_unproven() -> None:
    """Incomplete until a later era; a note of the log itself is nothing."""
    kept, closed = pinned([3, 2])
    shown = {"log/district/1/unproven/0": kept.checkpoint(4)}
    assert judge(tree(kept) | shown, kept).verdict == "verified"
    hidden = {"log/district/1/unproven/0": sign(kept, Head(1, 5, bytes(32)))}
    report = judge(tree(kept) | hidden, kept)
    assert (report.verdict, codes(report)) == ("incomplete", ["log.unproven"])
    new = reopened([kept, closed])
    files = certified(tree(kept, closed, eras=(new,), shared=3) | hidden, new)
    assert judge(files, kept).verdict == "verified"
    thief = {"log/district/1/unproven/0": sign(kept, Head(1, 5, bytes(32)), by="thief")}
    assert codes(judge(tree(kept) | thief, kept)) == ["checkpoint.signature"]


def sign(log: Log, head: Head, by: str = "log") -> bytes:
    """A checkpoint of era 1 that nobody can show."""
    return sign_checkpoint(Checkpoint(origin="test/district/1", size=head.size, root=head.root), log.key(by))


@covers("branch.name")
def test_a_branch_under_a_name_that_is_none_of_its_leaves() -> None:
    """Two names for one branch would be two branches."""
    kept, closed = pinned([3, 2])
    report = judge(tree(kept) | closed.files(branch=bytes(32)), kept)
    assert report.verdict == "failed" and "branch.name" in codes(report)


def test_a_root_key_thief_is_shown_as_ended_once_the_roster_says_so() -> None:
    """Before: the log goes on in the thief's era. After: that is ended, and the new root key goes on."""
    [log] = pinned([3])
    stolen = reopened([log])
    assert judge(certified(tree(log, eras=(stolen,)), stolen), log).verdict == "verified"
    world = log.world
    agencies = dict(world.roster.agencies) | {"district": key("district root 2").public_key}
    end = Ends(head=Branch(log).head, next_era=3)
    roster = later_roster(world, agencies=agencies, ends={"district": end})
    signatures = world.sign_roster(roster, ["centre", "sport"])
    mended = era_after([log], end.head, 3)
    card = mended.next_card(origin=str(mended.origin), log_key=mended.key("log 3").public_key)
    adopt = mended.adopt(version=2, hash=roster.hash, cards=log.pins())
    plan = plan_for(
        mended,
        [log, stolen],
        [Branch(stolen).head],
        card=card,
        adopt=adopt,
        root_key=agencies["district"],
    )
    entry = sign_opening(mended.state, plan, key("district root 2"))
    mended.take(*opening_leaves(mended.state, entry, [], plan.reconcile.hour))
    files = tree(log, eras=(stolen, mended)) | {"roster/2.json": roster.raw, "roster/2.note": signatures}
    report = judge(files, log)
    assert report.verdict == "verified", report.problems
    assert {line.era for line in report.logs if line.agency == "district"} == {1, 2, 3}


def ended_at(log: Log, head: Head, next_era: int, *, dropped: bool = False) -> Files:
    """A second roster version that ends the district's log at ``head``."""
    world, agencies = log.world, dict(log.world.roster.agencies)
    recovery: dict[str, bytes] = {}
    if dropped:
        del agencies["district"]
        recovery = {"recovery_key": key("recovery").public_key}
    else:
        agencies["district"] = key("district root 2").public_key
    end = Ends(head=head, next_era=next_era)
    roster = later_roster(world, agencies=agencies, ends={"district": end}, **recovery)
    signatures = world.sign_roster(roster, ["centre", "sport"])
    return {"roster/2.json": roster.raw, "roster/2.note": signatures}


def test_the_fork_of_a_dropped_agency_ends_with_it() -> None:
    """The quorum said which branch was its log; nobody can open an era, and no fork stays open for ever."""
    kept, closed = pinned([3, 2])
    roster = ended_at(kept, Branch(closed).head, 2, dropped=True)
    evidence = {"log/district/1/evidence/0": evidence_of(kept, closed)}
    for main, branch in ((kept, closed), (closed, kept)):
        report = judge(tree(main, branch, shared=3) | roster | evidence, kept)
        assert report.verdict == "verified", report.problems
    alone = judge(tree(kept) | roster, kept)
    assert codes(alone) == ["checkpoint.root"]


def test_a_thief_who_opens_past_the_next_era_by_the_old_roster_is_ended() -> None:
    """His opening was valid when it was made; since the roster says so it is no part of the log."""
    [log] = pinned([3])
    stolen = reopened([log])
    third = reopened([log, stolen], era=3, hour=HOUR + 8)
    files = certified(tree(log, eras=(stolen, third)), third)
    assert judge(files, log).verdict == "verified"
    report = judge(files | ended_at(log, Branch(log).head, 3), log)
    assert report.verdict == "verified"
    assert any("district/3" in text and "ended" in text for text in report.warnings)


def test_the_true_era_is_found_where_a_thief_came_first() -> None:
    """A node saw the thief's era 3 first; the new root key's is a branch of it there, and is the log."""
    [log] = pinned([3])
    stolen = reopened([log], era=3)
    roster = ended_at(log, Branch(log).head, 3)
    mended = era_after([log], Branch(log).head, 3, "log mended")
    new_root = key("district root 2")
    card = mended.next_card(origin=str(mended.origin), log_key=mended.key("log mended").public_key)
    second = log.world.rosters[sha256(roster["roster/2.json"]).digest()]
    adopt = mended.adopt(version=2, hash=second.hash, cards=log.pins())
    plan = plan_for(
        mended,
        [log],
        [],
        card=card,
        adopt=adopt,
        root_key=new_root.public_key,
    )
    entry = sign_opening(mended.state, plan, new_root)
    mended.take(*opening_leaves(mended.state, entry, [], plan.reconcile.hour))
    for main, branch in ((stolen, mended), (mended, stolen)):
        files = tree(log, eras=(main,)) | roster | branch.files(branch=leaf_hash(branch.leaves[0]))
        report = judge(files, log)
        assert report.verdict == "verified", report.problems


def test_rules_broken_below_an_end_count_whatever_another_roster_ended_before() -> None:
    """Only the `ends` beyond which a branch lies excuses its leaves."""
    [log] = pinned([3])
    log.append(log.leaf(log.entry([log.grant("friend")], by="clerk")))
    head = Branch(cut(log)).head
    work(log)
    report = judge(tree(log) | ended_at(log, head, 2), log)
    assert (report.verdict, codes(report)) == ("failed", ["author.office"])


@covers("evidence.proof")
def test_evidence_of_another_log_by_this_logs_key_proves_nothing_here() -> None:
    """A key that signed under two origins is careless; this log has one history."""
    [kept] = pinned([3])
    notes = [
        sign_checkpoint(Checkpoint(origin="test/centre/1", size=5, root=bytes([n]) * 32), kept.key("log"))
        for n in (1, 2)
    ]
    raw = fork.prove_notes(*notes, kept.key("log").public_key)
    assert raw is not None
    report = judge(tree(kept) | {"log/district/1/evidence/0": raw}, kept)
    assert (report.verdict, codes(report)) == ("failed", ["evidence.proof"])


def test_an_era_is_settled_by_whichever_branch_of_it_is_certified() -> None:
    """Its opening is what counts, and all branches of the era begin with it."""
    kept, closed = pinned([3, 2])
    new = reopened([kept, closed])
    other = cut(new)
    work(new, 2, hour=HOUR + 6)
    work(other, hour=HOUR + 6)
    third = reopened([kept, closed, new, other], kept=Branch(other).head, era=3, hour=HOUR + 7)
    files = tree(kept, closed, eras=(new, third), shared=3)
    files |= other.files(branch=leaf_hash(other.leaves[-1]))
    report = judge(certified(files, new), kept)
    assert {one.log for one in report.problems} == {"test/district/2"}


def test_the_empty_state_is_a_state_of_every_log() -> None:
    """A signed checkpoint of size 0 hides no leaves."""
    [log] = pinned([3])
    empty = {"log/district/1/unproven/0": log.checkpoint(0)}
    assert judge(tree(log) | empty, log).verdict == "verified"


def test_an_opening_that_carries_more_than_there_can_be_is_false_and_costs_nothing() -> None:
    """`carried.count` is only compared."""
    kept, closed = pinned([3, 2])
    new = era_after([kept], Branch(kept).head, 2)
    false = dishonest(new, nothing(Branch(kept).head, carried=(2**63 - 1, bytes(32))))
    report = judge(tree(kept, closed, eras=(false,), shared=3), kept)
    assert {"reconcile.lists", "checkpoint.carried"} <= set(codes(report))


def test_a_branch_closed_twice_or_a_part_of_what_is_kept_is_harmless() -> None:
    """Each entry is met once."""
    kept, closed = pinned([3, 2])
    head = Branch(closed).head
    early = branches_of([kept]).head_at(Branch(kept), 4)
    new = era_after([kept], Branch(kept).head, 2)
    plan = plan_for(new, [kept, closed], [head, head, early])
    moved = [leaf.entry for leaf in plan.lists.carried]
    files = tree(kept, closed, eras=(dishonest(new, plan.reconcile, moved),), shared=3)
    assert judge(certified(files, new), kept).verdict == "verified"


def test_one_entry_in_two_closed_branches_is_carried_once() -> None:
    """A colleague sent it again, and the second machine took it."""
    kept, one, two = pinned([3, 1, 0])
    two.take(two.leaf(parse_leaf(one.leaves[-1]).entry))
    work(two)
    new = reopened([kept, one, two])
    assert len(new.leaves) == 3
    files = certified(tree(kept, one, eras=(new,), shared=3), new)
    files |= two.files(branch=leaf_hash(two.leaves[3]))
    assert judge(files, kept).verdict == "verified"


def test_what_a_root_key_thief_says_of_the_branches_breaks_nothing_once_the_roster_ends_it() -> None:
    """Before the roster says so his opening is the log's, with its false lists; after it, nobody's."""
    [log] = pinned([3])
    start = era_after([log], Branch(log).head, 2)
    stolen = dishonest(start, nothing(Branch(log).head, set_aside=(1, bytes(32))))
    assert codes(judge(tree(log, eras=(stolen,)), log)) == ["reconcile.lists"]
    world = log.world
    agencies = dict(world.roster.agencies) | {"district": key("district root 2").public_key}
    end = Ends(head=Branch(log).head, next_era=3)
    roster = later_roster(world, agencies=agencies, ends={"district": end})
    signatures = world.sign_roster(roster, ["centre", "sport"])
    files = tree(log, eras=(stolen,)) | {"roster/2.json": roster.raw, "roster/2.note": signatures}
    assert codes(judge(files, log)) == []
