"""
When identities are forgotten: old enough, and many enough.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taximeter.adapters import node as node_module
from taximeter.adapters.node import Node
from taximeter.events.entry import Entry
from taximeter.events.envelope import Format
from taximeter.settings import Settings


def one_event(number: int) -> Entry:
    body = b'{"id":"%d","type":"t","subject":"s"}' % number
    return Entry("default", 1_700_000_000_000_000, Format.OBJECT, b"\x00", body)


def node_with_old_segments(directory: Path) -> Node:
    """Three closed segments of ten events, untouched for a year, and one being written."""
    node = Node(Settings(data=directory))
    for number in range(30):
        node.log.append([one_event(number)])
        if number % 10 == 9:
            node.log.roll()
    node.log.append([one_event(30)])
    for segment in node.log.segments():
        if segment.closed:
            os.utime(segment.path, (1_700_000_000, 1_700_000_000))
    return node


def test_the_newest_identities_are_kept_however_old_they_are(tmp_path: Path) -> None:
    node = node_with_old_segments(tmp_path)
    assert node._expired_before() == 1
    node.log.close()


def test_beyond_those_what_is_older_than_the_window_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = node_with_old_segments(tmp_path)
    monkeypatch.setattr(node_module, "REMEMBERED_AT_LEAST", 1)
    assert node._expired_before() == 31
    monkeypatch.setattr(node_module, "REMEMBERED_AT_LEAST", 16)
    assert node._expired_before() == 16
    node.log.close()
