"""Generated agencies with forks, openings honest and not, late branches, evidence: both verifiers agree.

A world is made from one number. Each is judged as it is and with files lost, swapped, spoiled, renamed; the
verdict, the problems and whose fault they are, the lines and the counts must be the same.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest

from ledger import fork
from ledger.errors import LedgerError
from ledger.governance import Revoke
from ledger.merkle import EMPTY_ROOT, leaf_hash
from ledger.names import Head, Place
from tests.eras import Branch, branches_of, cut, dishonest, era_after, plan_for, reopened, work
from tests.test_stranger import agreed
from tests.world import HOUR, Log, World, record

WORLDS, MUTATIONS = 24, 4
Files = dict[str, bytes]
ALL = ("centre", "district", "sport")


def busy(log: Log, dice: random.Random) -> None:
    """A few leaves, some of them invalid."""
    for _ in range(dice.randrange(4)):
        match dice.randrange(6):
            case 0:
                grant = log.grant(f"staff {dice.randrange(3)}")
                log.append(log.leaf(log.entry([grant], by="registrar"), hour=log.state.hour))
            case 1:
                revoke = Revoke(
                    key=log.key(f"staff {dice.randrange(3)}").public_key, suspect_from=Place(1, 1)
                )
                log.append(log.leaf(log.entry([revoke], by="registrar"), hour=log.state.hour))
            case 2:
                by, hour = (
                    dice.choice(["nobody", "root", "staff 1"]),
                    log.state.hour + dice.choice([0, 1, -1]),
                )
                entry = log.private([record(number=dice.randrange(10**6))], by=by)
                log.append(log.leaf(entry, hour=hour))
            case _:
                with suppress(AssertionError):  # the clerk's grant may be gone by now
                    work(log)


def opened(known: list[Log], era: int, dice: random.Random) -> Log:
    """A later era on some state of some branch, honest or with one lie."""
    base = dice.choice(known)
    size = dice.choice([len(base.leaves), dice.randrange(1, len(base.leaves) + 1)])
    kept, hour = branches_of(known).head_at(Branch(base), size), HOUR + 5 + era
    if dice.random() < 0.6:
        return reopened(known, kept=kept, era=era, hour=hour)
    new = era_after(known, kept, era)
    plan = plan_for(new, known, [Branch(one).head for one in known if dice.random() < 0.6], hour=hour)
    moved, said = [leaf.entry for leaf in plan.lists.carried], plan.reconcile
    lies = [
        {"carried": (said.carried[0] + 1, said.carried[1])},
        {"set_aside": (said.set_aside[0] + 1, said.set_aside[1])},
        {"carried": (0, EMPTY_ROOT)},
        {"closes": said.closes[1:]},
        {"closes": (*said.closes, Head(era, 3, bytes(32)))},
        {"kept": Head(kept.era, kept.size, bytes(32))},
        {"hour": hour + 1},
    ]
    dice.shuffle(moved)
    return dishonest(new, replace(said, **dice.choice(lies)), moved, hour=hour)


def story(dice: random.Random) -> tuple[World, list[Log]]:
    """A log forked at random, and up to three eras after it, some forked again."""
    world = World()
    log = world.logs["district"]
    log.take(log.leaf(log.entry([log.adopt(cards=log.pins())])))
    known = [cut(log) for _ in range(dice.randrange(1, 4))]
    for branch in known:
        busy(branch, dice)
    era = 1
    for _ in range(dice.randrange(4)):
        era += dice.choice([1, 1, 2])
        with suppress(LedgerError, AssertionError, IndexError):  # what no plan can be made of is no opening
            new = opened(known, era, dice)
            busy(new, dice)
            known.append(new)
            if dice.random() < 0.3:
                known.append(cut(new, dice.randrange(1, len(new.leaves) + 1)))
                busy(known[-1], dice)
    return world, known


def laid_out(world: World, logs: list[Log], dice: random.Random) -> Files:
    """The tree of a node that saw the branches in some order."""
    files = {name: data for name, data in world.tree().items() if not name.startswith("log/district/")}
    for era in {log.origin.era for log in logs}:
        main, *others = dice.sample(found := [one for one in logs if one.origin.era == era], len(found))
        files |= main.files()
        stored = {leaf_hash(raw) for raw in main.leaves}
        for branch in others:
            own = [hash_ for raw in branch.leaves if (hash_ := leaf_hash(raw)) not in stored]
            files |= branch.files(branch=own[0]) if own else {}
            stored |= set(own)
        if dice.random() < 0.6:
            files[f"{main.origin.path}/checkpoint.certified"] = main.cosigned(ALL)
        if others and dice.random() < 0.5:
            log_key = main.key(main.log_office).public_key
            with suppress(LedgerError):
                piece = fork.prove_fork(Branch(main), Branch(others[0]), log_key)
                files |= {f"{main.origin.path}/evidence/0": piece} if piece else {}
        if dice.random() < 0.3:
            one = dice.choice(found)
            files[f"{main.origin.path}/unproven/0"] = one.checkpoint(dice.randrange(len(one.leaves) + 1))
    return files


def spoiled(files: Files, dice: random.Random) -> Files:
    """The files with one thing wrong."""
    names = sorted(name for name in files if name.startswith("log/district/"))
    name, other = dice.choice(names), dice.choice(names)
    match dice.randrange(5):
        case 0:
            return {one: data for one, data in files.items() if one != name}
        case 1:
            at, data = dice.randrange(len(files[name])), files[name]
            return files | {name: data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]}
        case 2:
            return files | {name: files[other]}
        case 3:
            era = f"log/district/{dice.randrange(1, 4)}/"
            return {one: data for one, data in files.items() if not one.startswith(era)}
        case _:
            here, there = ("/".join(one.split("/")[:3]) for one in (name, other))
            return files | {one.replace(here, there): data for one, data in files.items() if here in one}


@pytest.mark.parametrize("number", range(WORLDS))
def test_both_verifiers_say_the_same_of_forks_and_eras(number: int) -> None:
    """Whatever is in hand of it."""
    dice = random.Random(number)
    world, logs = story(dice)
    files = laid_out(world, logs, dice)
    agreed(files, world.ledger_id, "certified")
    for _ in range(MUTATIONS):
        agreed(spoiled(files, dice), world.ledger_id)


def test_the_generator_makes_eras() -> None:
    """A control of the test above: some worlds have three eras and some one."""
    eras = [max(log.origin.era for log in story(random.Random(number))[1]) for number in range(WORLDS)]
    assert max(eras) >= 3 and min(eras) == 1
