"""The ledger that a run begins with: roster, openings and directories, all keys known to the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

from ledger.roster import parse_roster
from node.config import Config, parse_config
from node.config import format_config as format_toml
from node.opening import save_opening
from tests.agencies import Agency
from tests.simulator.network import SCHEME
from tests.world import World


def found(base: Path, names: tuple[str, ...], interval_s: float) -> dict[str, Agency]:
    """Make the directories of a ledger of agencies that know each other's addresses."""
    world = _world(names)
    made = {name: Agency(world, name, base / name, 0) for name in names}
    for agency in made.values():
        _write(agency)
        config = config_of(agency, names, interval_s)
        (agency.directory / "node.toml").write_text(config)
    return made


_world = cache(lambda names: World(names, opened=False))
_parse_roster = cache(parse_roster)


@contextlib.contextmanager
def parsed_once() -> Iterator[None]:
    """Parse each roster once: every start of every node reads the same one, 60 ms each time."""
    with (
        patch("ledger.verify.parse_roster", _parse_roster),
        patch("node.dossier.parse_roster", _parse_roster),
    ):
        yield


def config_of(agency: Agency, names: tuple[str, ...], interval_s: float) -> str:
    """The node.toml of an agency."""
    text = format_toml(
        ledger="test",
        agency=agency.name,
        url=f"{SCHEME}{agency.name}",
        listen="127.0.0.1:0",
        peers={name: [f"{SCHEME}{name}"] for name in names if name != agency.name},
    )
    return text.replace("mirror_interval_s = 1.0", f"mirror_interval_s = {interval_s}")


def copy_directory(agency: Agency, directory: Path) -> Config:
    """A second machine of the same agency: roster, opening and configuration, no data."""
    _write(Agency(agency.world, agency.name, directory, 0))
    text = (agency.directory / "node.toml").read_bytes()
    (directory / "node.toml").write_bytes(text)
    return parse_config(text, directory)


def _write(agency: Agency) -> None:
    (agency.directory / "roster").mkdir(parents=True)
    (agency.directory / "roster" / "1.json").write_bytes(agency.world.roster.raw)
    (agency.directory / "roster" / "1.note").write_bytes(agency.world.signatures)
    log = agency.world.logs[agency.name]
    save_opening(agency.directory, log.entry([log.card(urls=(f"{SCHEME}{agency.name}",)), log.adopt()]))
