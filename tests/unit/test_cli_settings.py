"""Settings: flags > environment > file > defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taximeter.errors import Rejected
from taximeter.settings import Settings, read_duration, read_settings, read_size

ROOT = Path(__file__).resolve().parents[2]


def test_without_any_source_the_defaults_hold():
    assert read_settings({}, {}, {}) == Settings()


def test_a_flag_beats_the_environment_and_that_beats_the_file():
    file = {"port": 1, "host": "file", "data": "file"}
    environment = {"TAXIMETER_PORT": "2", "TAXIMETER_HOST": "environment"}
    found = read_settings({"port": 3, "host": None}, environment, file)
    assert (found.port, found.host, found.data) == (3, "environment", Path("file"))


def test_a_false_flag_still_beats_a_true_environment():
    assert not read_settings({"dev": False}, {"TAXIMETER_DEV": "1"}, {}).dev


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("data", "/srv/x", Path("/srv/x")),
        ("host", "::1", "::1"),
        ("port", "0", 0),
        ("dev", "yes", True),
        ("sandbox", "off", False),
        ("log_level", "DEBUG", "debug"),
        ("segment_bytes", "64MiB", 64 * 2**20),
        ("accept_past_s", "30d", 30 * 86_400),
        ("accept_future_s", "5m", 300),
    ],
)
def test_every_setting_is_read_from_the_environment(name: str, text: str, value: object):
    found = read_settings({}, {f"TAXIMETER_{name.upper()}": text}, {})
    assert getattr(found, name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "65536"),
        ("port", "-1"),
        ("port", "http"),
        ("dev", "maybe"),
        ("log_level", "loud"),
        ("segment_bytes", "1KiB"),
        ("segment_bytes", "8MB"),
        ("accept_past_s", "1.5d"),
        ("accept_past_s", "-1"),
        ("host", ""),
        ("data", ""),
    ],
)
def test_an_unreadable_setting_is_named_with_its_source(name: str, text: str):
    with pytest.raises(Rejected, match=f"TAXIMETER_{name.upper()}") as caught:
        read_settings({}, {f"TAXIMETER_{name.upper()}": text}, {})
    assert caught.value.code == "invalid_file"


@pytest.mark.parametrize("value", [True, 1.5, [1]])
def test_a_port_in_the_file_is_a_whole_number(value: object):
    with pytest.raises(Rejected, match=r"port in taximeter\.toml"):
        read_settings({}, {}, {"port": value})


def test_an_unknown_setting_in_the_file_is_refused_with_the_closest_name():
    with pytest.raises(Rejected, match=r"'prot'.*Did you mean 'port'"):
        read_settings({}, {}, {"prot": 1})


def test_the_file_may_also_say_where_clients_go():
    assert read_settings({}, {}, {"url": "http://x"}) == Settings()


def test_durations_and_sizes_have_units():
    assert [read_duration(text) for text in ("7", 7, "7s", "2m", "1h", "1d")] == [
        7, 7, 7, 120, 3_600, 86_400,
    ]  # fmt: skip
    assert [read_size(text) for text in ("7", "1KiB", "1MiB", "1GiB")] == [7, 2**10, 2**20, 2**30]


def test_the_settings_page_lists_exactly_the_settings():
    page = (ROOT / "docs/operating/settings.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert listed == list(Settings.__struct_fields__)
