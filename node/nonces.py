"""Nonces of signed requests that were taken: each is good once.

A nonce is kept for as long as its request would be fresh, by whichever clock: after that the request is
refused for its age, so the table stays as small as ten minutes of requests. Only keys that were granted
reach it.
"""

from __future__ import annotations

from ledger.request import AGE_MS_MAX, SignedRequest
from node.database import Database, Schema

SCHEMA = Schema(
    part="nonces",
    steps=(
        (
            "CREATE TABLE nonce (key BLOB NOT NULL, nonce BLOB NOT NULL, created_ms INTEGER NOT NULL, "
            "PRIMARY KEY (key, nonce)) WITHOUT ROWID",
            "CREATE INDEX nonce_by_time ON nonce (created_ms)",
        ),
    ),
)


class NonceStore:
    """The nonces taken, in the log's database: a restart does not make a request good again."""

    def __init__(self, database: Database) -> None:
        """``database`` was opened with `SCHEMA`."""
        self._database = database

    def spend(self, request: SignedRequest, now_ms: int) -> bool:
        """Take a fresh request's nonce, inside a transaction; return False if it was taken before."""
        self._database.write("DELETE FROM nonce WHERE created_ms < ?", (now_ms - 2 * AGE_MS_MAX,))
        taken = self._database.write(
            "INSERT INTO nonce (key, nonce, created_ms) VALUES (?, ?, ?) ON CONFLICT (key, nonce) DO NOTHING",
            (request.key, request.nonce, request.created_ms),
        )
        return taken == 1
