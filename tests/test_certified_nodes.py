"""Real nodes converge and certify, and a reader that shares nothing with this project's code agrees.

What stands below `Reader` uses hashlib and the Ed25519 of PyNaCl directly: notes, checkpoints, cosignatures
(C2SP), RFC 6962 inclusion, bundles and ``.tlog-proof`` files.
"""

from __future__ import annotations

import base64
import hashlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from ledger.card_entries import parse_card_entries
from ledger.certify import is_certified_by_cards
from ledger.note import parse_note
from ledger.proof import parse_proof
from ledger.verify import verify
from node.http_client import HttpClient
from node.session import fetch_cards, fetch_receipt
from node.sources import HttpSource
from tests.agencies import Agency, Nodes, RunningNode, found_agencies, post, wait_for
from tests.world import key

AGENCIES = ("district", "sport", "centre")


def read_note(raw: bytes) -> tuple[bytes, dict[str, list[bytes]]]:
    """The text of a note, and the payloads of its lines by name."""
    text, _, lines = raw.rpartition(b"\n\n")
    found: dict[str, list[bytes]] = {}
    for line in lines.decode().splitlines():
        dash, name, payload = line.split(" ")
        assert dash == "\u2014"
        found.setdefault(name, []).append(base64.b64decode(payload, validate=True))
    return text + b"\n", found


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def cosigners(raw: bytes, log_key: bytes, witnesses: dict[str, bytes]) -> tuple[int, bytes, dict[str, int]]:
    """Size, root, and who cosigned when, of a checkpoint that its log signed."""
    text, lines = read_note(raw)
    origin, size, root = text.decode().splitlines()
    [signed] = lines[origin]
    assert signed[:4] == key_id(origin, 1, log_key) and is_signed(log_key, text, signed[4:])
    times = {}
    for name, public in witnesses.items():
        for payload in lines.get(name, []):
            if payload[:4] == key_id(name, 4, public) and len(payload) == 76:
                stamp = int.from_bytes(payload[4:12], "big")
                message = b"cosignature/v1\ntime %d\n" % stamp + text
                assert is_signed(public, message, payload[12:])
                times[name] = stamp
    return int(size), base64.b64decode(root), times


def root_of_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162 §2.1.3.2."""
    node, last, computed = index, size - 1, hashlib.sha256(b"\0" + leaf).digest()
    for sibling in path:
        if node & 1 or node == last:
            computed = hashlib.sha256(b"\1" + sibling + computed).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            computed = hashlib.sha256(b"\1" + computed + sibling).digest()
        node, last = node >> 1, last >> 1
    assert last == 0
    return computed


def root_of_leaves(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, as it is written."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    both = root_of_leaves(leaves[:middle]) + root_of_leaves(leaves[middle:])
    return hashlib.sha256(b"\1" + both).digest()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())


def is_certified(node: RunningNode, at_least: dict[str, int]) -> bool:
    logs = {log["origin"].split("/")[1]: log for log in node.status()["logs"]}
    return all(logs[name]["size"] == logs[name]["certified_size"] >= size for name, size in at_least.items())


@pytest.fixture(scope="module")
def network(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dict[str, Agency], list[RunningNode]]]:
    """Three nodes whose logs are certified, the district's with a grant and an entry."""
    nodes, agencies = Nodes(), found_agencies(tmp_path_factory.mktemp("network"), AGENCIES)
    try:
        started = [nodes.start(agency, wait=False) for agency in agencies.values()]
        for node in started:
            nodes.wait_ready(node)
        wait_for(lambda: all(is_certified(one, dict.fromkeys(AGENCIES, 2)) for one in started), "the pins")
        district = agencies["district"]
        with HttpClient(district.url) as client:
            for step in (district.grant(), district.enrol("anna")):
                assert isinstance(post(client, district, step), bytes)
        sizes = dict.fromkeys(AGENCIES, 2) | {"district": 4}
        wait_for(lambda: all(is_certified(one, sizes) for one in started), "certification")
        yield agencies, started
    finally:
        nodes.end()


Network = tuple[dict[str, Agency], list[RunningNode]]
WITNESSES = {f"test/{name}/witness": key(f"{name} witness").public_key for name in AGENCIES}


def test_every_node_serves_a_certified_tree(network: Network) -> None:
    """Three copies, each verified at the level certified without a warning."""
    agencies, _ = network
    for agency in agencies.values():
        with HttpClient(agency.url) as client:
            report = verify(HttpSource(client), agency.world.ledger_id, level="certified")
        assert (report.verdict, report.warnings) == ("verified", ())


def test_a_strangers_code_finds_the_quorum_on_the_certified_checkpoint(network: Network) -> None:
    """Log signature, three cosignatures within the run's time, and the root of the served leaves."""
    agencies, _ = network
    for agency in agencies.values():
        for owner in AGENCIES:
            base = f"{agency.url}/log/{owner}/1"
            raw = get(f"{base}/checkpoint.certified")
            size, root, times = cosigners(raw, key(f"{owner} log").public_key, WITNESSES)
            assert set(times) == set(WITNESSES) and max(times.values()) - min(times.values()) < 600
            bundle, leaves = get(f"{base}/tile/entries/000.p/{size}"), []
            while bundle:
                end = 2 + int.from_bytes(bundle[:2], "big")
                leaves.append(bundle[2:end])
                bundle = bundle[end:]
            assert len(leaves) == size and root_of_leaves(leaves) == root


def test_a_strangers_code_follows_a_certified_receipt(network: Network) -> None:
    """The ``.tlog-proof`` of the entry: its leaf, its path, its checkpoint with a quorum."""
    agencies, _ = network
    entry_id = agencies["district"].enrol("anna").entry.header.entry_id
    raw = get(f"{agencies['district'].url}/v1/entries/{entry_id.hex()}")
    head, _, checkpoint = raw.partition(b"\n\n")
    first, extra, index, *path = head.decode().splitlines()
    assert first == "c2sp.org/tlog-proof@v1" and extra.startswith("extra ") and index.startswith("index ")
    size, root, times = cosigners(checkpoint, key("district log").public_key, WITNESSES)
    assert set(times) == set(WITNESSES)
    hashes = [base64.b64decode(one, validate=True) for one in path]
    leaf = base64.b64decode(extra[6:], validate=True)
    assert root_of_path(leaf, int(index[6:]), size, hashes) == root


def test_staff_can_tell_that_a_receipt_is_certified(network: Network) -> None:
    """With the roster and the cards that the node serves, no log in hand."""
    agencies, _ = network
    district = agencies["district"]
    entry_id = district.enrol("anna").entry.header.entry_id
    with HttpClient(district.url) as client:
        entries = parse_card_entries(
            client.run(fetch_cards()), district.world.roster, district.world.ledger_id
        )
        cards = {name: one.card for name, one in entries.items()}
        note = parse_note(parse_proof(client.run(fetch_receipt(entry_id))).checkpoint)
    roster = district.world.roster
    assert is_certified_by_cards(note, roster, cards)
    assert not is_certified_by_cards(note, roster, {"district": cards["district"]})


def test_witnesses_show_what_they_cosigned_by_the_hash_of_the_origin(network: Network) -> None:
    """C2SP's monitoring path, on each node for each log."""
    agencies, _ = network
    for name, agency in agencies.items():
        for owner in AGENCIES:
            origin = hashlib.sha256(f"test/{owner}/1".encode()).hexdigest()
            raw = get(f"{agency.url}/witness/{origin}/checkpoint")
            size, _, times = cosigners(raw, key(f"{owner} log").public_key, WITNESSES)
            assert size == (4 if owner == "district" else 2) and set(times) == {f"test/{name}/witness"}


def test_killed_all_at_once_they_certify_on(tmp_path: Path, nodes: Nodes) -> None:
    """kill -9 of the three, a restart, one more entry: certified again, from where they were."""
    agencies = found_agencies(tmp_path, AGENCIES)
    started = [nodes.start(agency, wait=False) for agency in agencies.values()]
    for node in started:
        nodes.wait_ready(node)
    sizes = dict.fromkeys(AGENCIES, 2)
    wait_for(lambda: all(is_certified(one, sizes) for one in started), "the pins")
    for node in started:
        node.kill()
    started = [nodes.start(agency, wait=False) for agency in agencies.values()]
    for node in started:
        nodes.wait_ready(node)
    district = agencies["district"]
    wait_for(lambda: started[0].status()["is_sequencing"], "the district to hear the others")
    with HttpClient(district.url) as client:
        assert isinstance(post(client, district, district.grant()), bytes)
    sizes |= {"district": 3}
    wait_for(lambda: all(is_certified(one, sizes) for one in started), "certification after the restart")
