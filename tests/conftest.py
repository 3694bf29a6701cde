"""Fixtures that several test modules use, and what holds for every test: English messages."""

import os

import pytest

from cli import language
from tests.agencies import nodes

__all__ = ["nodes"]

os.environ[language.VARIABLE] = "en"  # child processes too, whatever language the computer speaks


@pytest.fixture(autouse=True)
def _english() -> None:
    """A test that chose another language leaves none behind."""
    language.use("en")
