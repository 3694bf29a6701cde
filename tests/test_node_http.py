"""A node over real sockets: its routes, its end, and peers that mean it ill."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ledger.verify import verify
from node.frontier import decode_frontier
from node.handlers import REQUEST_BYTES_MAX
from node.http_client import HttpClient
from node.http_server import RETRY_AFTER_S
from node.limits import ASKER_BYTES
from node.protocol import Problem, Unreachable
from node.session import check_receipt, fetch_json, fetch_receipt
from node.sources import HttpSource
from tests.agencies import Agency, Nodes, RunningNode, found_agencies, post, wait_for

AGENCIES = ("district", "sport", "centre")


def ask(agency: Agency, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """One plain request, with the whole answer read into ``data``."""
    connection = http.client.HTTPConnection("127.0.0.1", agency.port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        answer.data = answer.read()  # type: ignore[attr-defined]
        return answer
    finally:
        connection.close()


def _problem(answer: http.client.HTTPResponse) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    value: dict[str, Any] = json.loads(answer.data)  # type: ignore[attr-defined]
    assert value["status"] == answer.status and value["type"] == f"urn:pledger:{value['code']}"
    return value


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node that is only asked, the same for many tests."""
    nodes = Nodes()
    try:
        yield _with_an_entry(tmp_path_factory.mktemp("served"), nodes)
    finally:
        nodes.end()


@pytest.fixture
def running(tmp_path: Path, nodes: Nodes) -> RunningNode:
    """A node of a test's own."""
    return _with_an_entry(tmp_path, nodes)


def _with_an_entry(folder: Path, nodes: Nodes) -> RunningNode:
    """A ledger of one, with a grant and an entry, published."""
    agency = found_agencies(folder)["district"]
    node = nodes.start(agency)
    with HttpClient(agency.url) as client:
        for step in (agency.grant(), agency.enrol("anna")):
            assert isinstance(post(client, agency, step), bytes)
    wait_for(lambda: node.status()["logs"][0]["size"] == 3, "publication")
    return node


def test_every_route_answers_over_a_real_socket(served: RunningNode) -> None:
    """Status, content type and what may be cached, route by route."""
    base = f"/{served.agency.origin.path}"
    entry_id = served.agency.enrol("anna").entry.header.entry_id.hex()
    for path, kind, cache in (
        ("/healthz", "text/plain; charset=utf-8", None),
        ("/v1/status", "application/json", "no-store"),
        ("/v1/frontier", "application/msgpack", "no-store"),
        (f"/v1/entries/{entry_id}", "text/plain; charset=utf-8", None),
        ("/roster/1.json", "text/plain; charset=utf-8", "no-cache"),
        ("/roster/1.note", "text/plain; charset=utf-8", "no-cache"),
        (f"{base}/checkpoint", "text/plain; charset=utf-8", "no-cache"),
        (f"{base}/vkey", "text/plain; charset=utf-8", "no-cache"),
        (f"{base}/tile/0/000.p/3", "application/octet-stream", "public, max-age=31536000, immutable"),
        (f"{base}/tile/entries/000.p/3", "application/octet-stream", "public, max-age=31536000, immutable"),
        (f"{base}/tile/entries/000.p/2", "application/octet-stream", "public, max-age=31536000, immutable"),
    ):
        answer = ask(served.agency, path)
        found = (answer.status, answer.headers["Content-Type"], answer.headers["Cache-Control"])
        assert found == (200, kind, cache), path
    frontier = decode_frontier(ask(served.agency, "/v1/frontier").data)  # type: ignore[attr-defined]
    status = json.loads(ask(served.agency, "/v1/status").data)  # type: ignore[attr-defined]
    assert [row.size for row in frontier.rows] == [3]
    assert (status["agency"], status["size"], status["is_sequencing"]) == ("district", 3, True)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/entries/00",
        f"/v1/entries/{'0' * 64}",
        f"/v1/entries/{'A' * 64}",
        "/roster/2.json",
        "/roster/01.json",
        "/log/district/1/checkpoint.certified",
        "/log/district/2/checkpoint",
        "/log/sport/1/checkpoint",
        "/log/district/1/tile/entries/000",
        "/log/district/1/tile/entries/000.p/4",
        "/log/district/1/tile/8/000.p/1",
        "/log/district/1/tile/0/x999/999.p/1",
        "/log/../node.toml",
        "/log/%2e%2e/keys/node.key",
        "/roster/../../keys/node.key",
        "/data/log.db",
        "/keys/node.key",
        "/%00",
        "/log/district/1/%ff",
        "/%ed%a0%80",
        "//healthz",
        "/" + "x" * 4000,
    ],
)
def test_a_path_that_is_nothing_is_not_found(served: RunningNode, path: str) -> None:
    """A problem document, whatever was asked; nothing outside the grammar is ever read."""
    answer = ask(served.agency, path)
    assert answer.status == 404
    assert _problem(answer)["code"] in ("node.path", "node.entry")


def test_bytes_that_are_no_text_in_a_request_do_no_harm(served: RunningNode) -> None:
    """Sent as they are, past every client library: an answer below 500, and the node serves on."""
    for line in (
        b"GET /\xff\xfe HTTP/1.1",
        b"GET /\xed\xa0\x80 HTTP/1.1",
        b"GET \xff HTTP/1.1",
        b"\x00\x01\x02",
    ):
        with socket.create_connection(("127.0.0.1", served.agency.port), timeout=30) as connection:
            connection.sendall(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = connection.recv(100)
        assert answer.startswith(b"HTTP/1.") and 400 <= int(answer.split()[1]) < 500, (line, answer)
    assert ask(served.agency, "/healthz").status == 200


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/entries", "POST"),
        ("GET", "/v1/entries", "POST"),
        ("DELETE", "/v1/entries", "POST"),
        ("GET", "/v1/requests", "POST"),
        ("POST", "/v1/status", "GET"),
        ("DELETE", "/log/district/1/checkpoint", "GET"),
        ("PATCH", "/", "GET"),
    ],
)
def test_another_method_is_refused_and_the_right_one_named(
    served: RunningNode, method: str, path: str, allow: str
) -> None:
    """405 with Allow, as RFC 9110 wants it."""
    answer = ask(served.agency, path, method)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)
    assert _problem(answer)["code"] == "node.method"


def test_a_range_gives_the_rest_of_a_file(served: RunningNode) -> None:
    """From any offset; other forms are answered whole, one beyond the end is 416."""
    path = f"/{served.agency.origin.path}/tile/entries/000.p/3"
    whole = ask(served.agency, path).data  # type: ignore[attr-defined]
    for offset in (1, 100, len(whole) - 1):
        answer = ask(served.agency, path, Range=f"bytes={offset}-")
        assert (answer.status, answer.data) == (206, whole[offset:])  # type: ignore[attr-defined]
        assert answer.headers["Content-Range"] == f"bytes {offset}-{len(whole) - 1}/{len(whole)}"
    for other in ("bytes=0-", "bytes=5-9", "bytes=-5", "bytes=1-,3-", "lines=1-", "bytes=x-", "bytes=²-"):
        answer = ask(served.agency, path, Range=other.encode().decode("latin-1"))
        assert (answer.status, answer.data) == (200, whole), other  # type: ignore[attr-defined]
    for offset in (len(whole), len(whole) + 1, 999_999_999_999):
        answer = ask(served.agency, path, Range=f"bytes={offset}-")
        assert answer.status == 416 and _problem(answer)["code"] == "node.range"
        assert answer.headers["Content-Range"] == f"bytes */{len(whole)}"


def test_three_nodes_hold_each_others_logs_and_each_serves_a_verified_tree(
    tmp_path: Path, nodes: Nodes
) -> None:
    """Started together, none alone: each founds its log, mirrors the others, and shows all three."""
    agencies = found_agencies(tmp_path, AGENCIES)
    started = [nodes.start(agency, wait=False) for agency in agencies.values()]
    for node in started:
        nodes.wait_ready(node)
    for agency in agencies.values():
        wait_for(lambda one=agency: _is_sequencing(one), f"{agency.name} to found its log")
        with HttpClient(agency.url) as client:
            for step in (agency.grant(), agency.enrol("anna")):
                assert isinstance(post(client, agency, step), bytes)
    for node in started:
        wait_for(lambda one=node: [log["size"] for log in one.status()["logs"]] == [4, 4, 4], "the mirrors")
        with HttpClient(node.url) as client:
            report = verify(HttpSource(client), node.agency.world.ledger_id)
        assert (report.verdict, report.entries) == ("verified", 12)


def _is_sequencing(agency: Agency) -> bool:
    with HttpClient(agency.url) as client:
        return bool(client.run(fetch_json("/v1/status"))["is_sequencing"])


def test_sigterm_while_appends_are_under_way_loses_no_receipt(running: RunningNode, nodes: Nodes) -> None:
    """Whoever was answered has a receipt that stays; the node ends by itself with exit code 0."""
    agency, receipts, others = running.agency, {}, []
    appended = threading.Event()

    def append(number: int) -> None:
        with HttpClient(agency.url) as client, contextlib.suppress(Unreachable):
            for pupil in range(10_000):
                submission = agency.enrol(f"pupil {number} {pupil}")
                answer = post(client, agency, submission)
                if isinstance(answer, Problem):
                    others.append(answer)
                    return
                receipts[submission.entry.header.entry_id] = answer
                if len(receipts) > 20:
                    appended.set()

    threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert appended.wait(30)
    assert running.stop() == 0
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert others == []
    assert running.events()[-1]["event"] == "node.stopped"
    node = nodes.start(agency)
    with HttpClient(agency.url) as client:
        for entry_id, receipt in receipts.items():
            before, _, _ = check_receipt(receipt, entry_id, agency.verifier)
            after, _, _ = check_receipt(client.run(fetch_receipt(entry_id)), entry_id, agency.verifier)
            assert before.index == after.index
    wait_for(lambda: node.status()["size"] >= 3 + len(receipts), "publication")


def test_sigint_ends_a_node_as_well(running: RunningNode) -> None:
    """Ctrl-C in a terminal is no crash."""
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(30) == 0


def test_a_client_that_sends_half_a_request_does_not_keep_a_node_from_ending(running: RunningNode) -> None:
    """Open connections are closed when the node ends."""
    with socket.create_connection(("127.0.0.1", running.agency.port), timeout=30) as connection:
        connection.sendall(b"POST /v1/entries HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
        assert ask(running.agency, "/healthz").status == 200
        assert running.stop() == 0


def test_a_node_without_addresses_of_the_others_serves_and_says_what_it_waits_for(
    tmp_path: Path, nodes: Nodes
) -> None:
    """It does not end by itself, and does not sequence either."""
    agency = found_agencies(tmp_path, AGENCIES)["district"]
    toml = agency.directory / "node.toml"
    toml.write_text(toml.read_text().split("[peers]")[0])
    node = nodes.start(agency)
    with HttpClient(agency.url) as client:
        problem = post(client, agency, agency.grant())
    assert isinstance(problem, Problem) and problem.status == 503
    assert "waiting for 1 more of the other agencies" in problem.detail
    assert node.process.poll() is None
    assert node.stop() == 0


@contextlib.contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[int, list[str]]]:
    """A peer of our own making; yields its port and the paths asked of it so far."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            with contextlib.suppress(OSError):
                answer(self)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _problem_body(detail: str) -> bytes:
    return json.dumps({"code": "x", "detail": detail, "records": []}).encode()


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


ILL: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "deep JSON": lambda peer: _answer(peer, 500, b"[" * 300_000),
    "lone surrogates": lambda peer: _answer(peer, 500, _problem_body("\ud800" * 40)),
    "a detail of a megabyte": lambda peer: _answer(peer, 500, _problem_body("x" * 1_000_000)),
    "a redirect": lambda peer: _answer(peer, 302, b"", Location="/elsewhere"),
    "no HTTP": lambda peer: peer.wfile.write(b"\xff" * 1000) and None,
    "a body cut short": lambda peer: _answer(peer, 200, b"", Content_Length="100"),
    "compressed noise": lambda peer: _answer(peer, 200, b"noise", Content_Encoding="gzip"),
    "noise": lambda peer: _answer(peer, 200, bytes(range(256))),
    "an endless body": _endless,
    "a note of another log": lambda peer: _answer(peer, 200, b"a/b/1\n1\nAAAA\n\n\xe2\x80\x94 a/b/1 AAAA\n"),
}


@pytest.mark.parametrize("name", ILL)
def test_a_peer_that_means_ill_costs_itself_only(tmp_path: Path, nodes: Nodes, name: str) -> None:
    """The node lives, sequences, and its own answers stay whole, however long the peer goes on."""
    agency = found_agencies(tmp_path, AGENCIES)["district"]
    with serving(ILL[name]) as (port, asked):
        toml = agency.directory / "node.toml"
        head = toml.read_text().split("[peers]")[0]
        toml.write_text(f'{head}[peers]\nsport = ["http://127.0.0.1:{port}"]\n')
        node = nodes.start(agency, "--alone")
        rounds = len(asked)
        wait_for(lambda: len(asked) >= rounds + 6, "three rounds of asking and mirroring")
        assert not any("elsewhere" in path for path in asked)
        with HttpClient(agency.url) as client:
            assert isinstance(post(client, agency, agency.grant()), bytes)
        wait_for(lambda: node.status()["size"] == 2, "publication")
        status = node.status()
        assert status["is_sequencing"]
        assert all(len(log["fault"] or "") < 10_000 for log in status["logs"])
        for event in node.events():
            assert len(json.dumps(event)) < 10_000
        assert node.stop() == 0
    assert "Traceback" not in node.log.read_text()


def test_a_peer_that_never_answers_keeps_no_node_from_serving_or_ending(tmp_path: Path, nodes: Nodes) -> None:
    """While it is waited for at the start, reading works, writing is put off at once, SIGTERM is obeyed."""
    agency = found_agencies(tmp_path, AGENCIES)["district"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        toml = agency.directory / "node.toml"
        head = toml.read_text().split("[peers]")[0]
        toml.write_text(f'{head}[peers]\nsport = ["{url}"]\ncentre = ["{url}"]\n')
        node = nodes.start(agency, wait=False)
        wait_for(lambda: _is_alive(agency), "the address to be served")
        start = time.monotonic()
        with HttpClient(agency.url) as client:
            problem = post(client, agency, agency.grant())
        assert isinstance(problem, Problem) and problem.status == 503
        assert ask(agency, "/v1/entries", "GET").status == 405
        assert node.stop() == 0
        assert time.monotonic() - start < 20


def _is_alive(agency: Agency) -> bool:
    with contextlib.suppress(OSError):
        return ask(agency, "/healthz").status == 200
    return False


def test_a_busy_node_says_when_to_come_back(tmp_path: Path, nodes: Nodes) -> None:
    """503 carries Retry-After."""
    agency = found_agencies(tmp_path, AGENCIES)["district"]
    toml = agency.directory / "node.toml"
    toml.write_text(toml.read_text().split("[peers]")[0])
    nodes.start(agency)
    connection = http.client.HTTPConnection("127.0.0.1", agency.port, timeout=30)
    connection.request("POST", "/v1/entries", body=b"x")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (503, str(RETRY_AFTER_S))
    answer.read()
    connection.close()


def test_a_flood_is_told_when_to_come_back(running: RunningNode) -> None:
    """429 with Retry-After, once the bodies of one address pass its bucket; other addresses are served."""
    port, body = running.agency.port, bytes(REQUEST_BYTES_MAX)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    statuses = []
    while 429 not in statuses:
        assert len(statuses) * len(body) < 4 * ASKER_BYTES.burst, statuses
        connection.request("POST", "/v1/nothing", body=body)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert len(statuses) * len(body) >= ASKER_BYTES.burst
    connection.close()
    other = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=("127.0.0.9", 0))
    other.request("POST", "/v1/nothing", body=b"x")
    assert other.getresponse().status != 429
    other.close()


def test_a_misspelt_agency_among_the_peers_is_told(tmp_path: Path, nodes: Nodes) -> None:
    """At the start, with the name that may have been meant; the node runs: its address is only not used."""
    agency = found_agencies(tmp_path, AGENCIES)["district"]
    toml = agency.directory / "node.toml"
    toml.write_text(toml.read_text() + 'sprot = ["http://127.0.0.1:1"]\n')
    node = nodes.start(agency)
    [event] = [one for one in node.events() if one["event"] == "peers.unknown"]
    assert (event["agency"], event["near"]) == ("sprot", "sport")


def test_nobody_watches_a_teacher_at_work(tmp_path: Path, nodes: Nodes) -> None:
    """Where checkpoints are published hourly, status and frontier do not move with each entry."""
    agency = found_agencies(tmp_path, publish_interval_s=3600)["district"]
    node = nodes.start(agency)
    with HttpClient(agency.url) as client:
        assert isinstance(post(client, agency, agency.grant()), bytes)
    assert node.status()["size"] == 1
    frontier = decode_frontier(ask(agency, "/v1/frontier").data)  # type: ignore[attr-defined]
    assert [row.size for row in frontier.rows] == [1]
