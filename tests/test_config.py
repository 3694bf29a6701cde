"""node.toml: checked whole before anything starts, and every error told at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Malformed
from node.config import FILE_BYTES_MAX, format_config, load_config, parse_config
from node.rosters import load_rosters, unknown_peers
from tests.agencies import found_agencies

GOOD = {
    "ledger": '"portfolio"',
    "agency": '"district-7"',
    "url": '"http://10.0.0.7:8700"',
    "listen": '"127.0.0.1:8700"',
}


def toml(**changes: str) -> bytes:
    return "\n".join(f"{key} = {value}" for key, value in (GOOD | changes).items() if value).encode()


def refused(raw: bytes) -> str:
    with pytest.raises(Malformed) as caught:
        parse_config(raw, Path("/srv/district-7"))
    return str(caught.value)


def test_what_is_left_out_has_its_default() -> None:
    """Four keys are needed, the others are what the format says."""
    config = parse_config(toml(), Path("/srv/district-7"))
    assert (config.host, config.port, config.data) == ("127.0.0.1", 8700, Path("/srv/district-7/data"))
    assert (config.publish_interval_s, config.mirror_interval_s, config.peers) == (1.0, 1.0, {})


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("lisen", "listen"),
        ("Listen", "listen"),
        ("mirror_intervall_s", "mirror_interval_s"),
        ("peer", "peers"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, near: str) -> None:
    """A misspelt key must not silently leave a node on its default."""
    assert f"{key}: unknown key; did you mean {near}?" in refused(toml(**{key: '"x"'}))


def test_a_key_like_no_other_is_answered_with_all_that_are_known() -> None:
    """Nothing near: the list."""
    said = refused(toml(zzzzzz="1"))
    assert "zzzzzz: unknown key; known are ledger, agency, url, listen" in said


def test_all_errors_are_told_at_once() -> None:
    """One start, one list of what to mend."""
    said = refused(
        toml(ledger="", agency='"Школа"', listen='"nowhere"', url="7", publish_interval_s="0", x="1")
    )
    lines = said.splitlines()
    for start in (
        "ledger: missing",
        "agency: 'Школа'",
        "listen: 'nowhere'",
        "url: 7",
        "publish_",
        "x: unknown",
    ):
        assert any(f"node.toml: {start}" in line for line in lines), (start, said)
    assert len(lines) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"listen": '"127.0.0.1:65536"'},
        {"listen": '"127.0.0.1"'},
        {"listen": '":8700"'},
        {"listen": '"127.0.0.1:８７"'},
        {"url": '"ftp://10.0.0.7"'},
        {"url": '"http://user:secret@10.0.0.7"'},
        {"url": '"http://10.0.0.7/?a=b"'},
        {"data": '""'},
        {"data": '"a\\u0000b"'},
        {"publish_interval_s": "nan"},
        {"publish_interval_s": "inf"},
        {"publish_interval_s": "true"},
        {"publish_interval_s": '"1"'},
        {"mirror_interval_s": "-1"},
        {"mirror_interval_s": "3601"},
        {"peers": "[]"},
        {"peers": '{sport = "http://10.0.0.8"}'},
        {"peers": "{sport = []}"},
        {"peers": '{"../x" = ["http://10.0.0.8"]}'},
        {"agency": '"a/b"'},
        {"ledger": '"-x"'},
    ],
)
def test_a_value_out_of_its_bounds_is_refused_by_name(changes: dict[str, str]) -> None:
    """The key stands in the message."""
    [key] = changes
    assert f"node.toml: {key}: " in refused(toml(**changes))


@pytest.mark.parametrize(
    "raw",
    [b"\xff", b"ledger = ", b"[[[[", b"a" * (FILE_BYTES_MAX + 1), b"x = " + b"[" * 50_000, b"a = 1\na = 2"],
)
def test_what_is_no_toml_is_malformed(raw: bytes) -> None:
    """No traceback for a file of noise."""
    refused(raw)


_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
_HOSTS = st.sampled_from(["10.0.0.7", "node.example", "127.0.0.1"])
_URLS = st.builds("http://{}:{}/{}".format, _HOSTS, st.integers(1, 65535), st.sampled_from(["", "pledger"]))


@given(
    ledger=_NAMES,
    agency=_NAMES,
    url=_URLS,
    port=st.integers(0, 65535),
    peers=st.dictionaries(_NAMES, st.lists(_URLS, min_size=1, max_size=3)),
)
def test_what_the_tool_writes_is_what_the_node_reads(
    ledger: str, agency: str, url: str, port: int, peers: dict[str, list[str]]
) -> None:
    """format_config and parse_config are each other's inverse."""
    text = format_config(ledger=ledger, agency=agency, url=url, listen=f"127.0.0.1:{port}", peers=peers)
    config = parse_config(text.encode(), Path("/srv"))
    assert (config.ledger, config.agency, config.url, config.port) == (ledger, agency, url, port)
    assert config.peers == {name: tuple(urls) for name, urls in peers.items()}


def test_an_agency_with_a_dot_in_its_name_can_be_a_peer() -> None:
    """TOML would read a bare dotted key as a table in a table."""
    url = "http://10.0.0.8"
    text = format_config(ledger="a", agency="b", url=url, listen="127.0.0.1:1", peers={"school.7": [url]})
    assert parse_config(text.encode(), Path("/srv")).peers == {"school.7": (url,)}


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_noise_is_malformed_and_nothing_else(raw: bytes) -> None:
    """Any bytes: a configuration or `Malformed`."""
    with pytest.raises(Malformed):
        parse_config(raw, Path("/srv"))


_VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
)


@given(st.dictionaries(st.sampled_from([*GOOD, "data", "publish_interval_s", "peers", "pears"]), _VALUES))
def test_any_value_under_any_key_is_taken_or_malformed(values: dict[str, Any]) -> None:
    """Whatever TOML can say."""
    lines = [f"{key} = {_as_toml(value)}" for key, value in values.items()]
    _never_another_error(lambda: parse_config("\n".join(lines).encode(errors="replace"), Path("/srv")))


def _as_toml(value: object) -> str:
    if value is None:
        return "{}"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if not isinstance(value, str) else f"'{value}'"


def _never_another_error(call: Callable[[], object]) -> None:
    try:
        call()
    except Malformed:
        return


def test_a_folder_without_a_configuration_says_what_makes_one(tmp_path: Path) -> None:
    """The message names the command."""
    with pytest.raises(Malformed, match="pledger agency new"):
        load_config(tmp_path)


def test_a_node_is_no_peer_of_itself_and_a_name_that_no_roster_has_is_told(tmp_path: Path) -> None:
    """An agency that is to join may stand there before its roster; a misspelt one is named."""
    agency = found_agencies(tmp_path, ("district", "sport", "centre"))["district"]
    path = agency.directory / "node.toml"
    good = path.read_text()
    path.write_text(good.replace('"sport" =', '"district" ='))
    with pytest.raises(Malformed, match="peers: district is this node itself"):
        load_rosters(load_config(agency.directory))
    path.write_text(good.replace('"sport" =', '"sports" ='))
    config = load_config(agency.directory)
    rosters, _ = load_rosters(config)
    assert unknown_peers(config, rosters) == {"sports": "sport"}
