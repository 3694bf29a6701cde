"""Fixtures that several test modules use."""

from tests.agencies import nodes

__all__ = ["nodes"]
