"""The demo's prepaid customers, on a real server and without waiting: credit burns, ends, comes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from tests.serving import Served, serve

from taximeter.adapters.client import Client
from taximeter.demo.company import CATALOG_YAML
from taximeter.demo.streams import PAYS_AFTER_TICKS, WRITERS, Streams, set_up

QUILL, EMBER = WRITERS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("streams"), "--dev") as running:
        client = Client(running.url)
        client.request(
            "PUT", "/v1/catalog", body=CATALOG_YAML.encode(), content_type="application/yaml"
        )
        set_up(client)
        yield running


def ledger(server: Served, customer: str) -> list[dict[str, Any]]:
    return list(server.get(f"/v1/customers/{customer}/ledger?limit=1000").json()["items"])


def test_one_wallet_tops_itself_up_and_never_runs_dry(server: Served) -> None:
    streams = Streams(Client(server.url), QUILL, "test", random.Random(7))
    for _ in range(150):
        streams.tick()
    rows = ledger(server, QUILL.key)
    made = [row["cause"].get("grant", "") for row in rows if row["kind"] == "grant"]
    assert any(one.startswith("auto:quill:usd:") for one in made)
    assert min(float(row["balance_after"]) for row in rows) > 0
    assert not [row for row in rows if row["kind"] == "overage"]


def test_the_other_is_cut_when_nothing_is_left_and_goes_on_once_it_has_paid(
    server: Served,
) -> None:
    streams = Streams(Client(server.url), EMBER, "test", random.Random(7))
    for _ in range(6):
        for _ in range(PAYS_AFTER_TICKS // 2):
            streams.tick()
        rows = ledger(server, EMBER.key)
        orders = [place for place, row in enumerate(rows) if row["kind"] == "grant"]
        if orders[-1] > 1 and rows[-1]["kind"] == "settle":
            break
    assert float(rows[orders[-1] - 1]["balance_after"]) < 0.12, "less than the next block costs"
    assert min(float(row["balance_after"]) for row in rows) >= 0
    assert rows[-1]["kind"] == "settle", "it goes on"
