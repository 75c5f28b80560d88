"""Billing settings, taxes and discounts at the terminal. Against a stub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.cli import main

Capture = pytest.CaptureFixture[str]
SETTINGS = ("GET", "/v1/billing/settings")
FOUND = {
    "due_days": 30, "tax": {"rates": [{"name": "VAT", "country": "DE", "rate": "0.19"}]},
    "version": 3, "changed_at": "2026-11-20T10:00:00Z", "changed_by": "key_1", "reason": "VAT",
}  # fmt: skip
COUPON = {
    "id": "HALF", "percent": "50", "prices": ["tokens"], "duration": {"periods": 3},
    "max_redemptions": 9, "expires_at": None, "redeemed": 2,
}  # fmt: skip
GIVEN = {
    "id": "d1", "customer": "acme", "amount": "5.00", "currency": "EUR", "duration": "once",
    "given_at": "2026-11-20T10:00:00Z", "ended_at": None,
}  # fmt: skip


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with running_stub() as found:
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        monkeypatch.chdir(tmp_path)
        yield found


def test_settings_are_shown_as_the_file_that_could_be_put_back(
    stub: Stub, capsys: Capture, tmp_path: Path
) -> None:
    stub.routes[SETTINGS] = Answer(body=FOUND)
    stub.routes["PUT", "/v1/billing/settings"] = Answer(body=FOUND | {"version": 4})
    assert main(["billing", "settings"]) == 0
    shown = capsys.readouterr().out
    assert "changed_by" not in shown
    (tmp_path / "s.yaml").write_text(shown)
    assert main(["billing", "settings", "s.yaml", "--reason", "why", "--version", "3"]) == 0
    put = stub.asked[-1].json()
    assert put == {
        "due_days": 30, "tax": FOUND["tax"], "reason": "why", "version": 3,
    }  # fmt: skip
    assert "version 4" in capsys.readouterr().out


def test_a_file_without_settings_is_said_so(stub: Stub, capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("\n")
    assert main(["billing", "settings", "s.yaml"]) == 2
    assert "has no settings in it" in capsys.readouterr().err
    assert not stub.asked


def test_a_tax_that_cannot_be_said_exits_1_with_what_is_missing(
    stub: Stub, capsys: Capture
) -> None:
    rate = {"name": "VAT", "jurisdiction": "FR", "rate": "0", "inclusive": False,
            "note": "reverse_charge"}  # fmt: skip
    path = ("GET", "/v1/customers/a%2Fb/taxes")
    stub.routes[path] = Answer(body={"rates": [rate], "unknown": None})
    assert main(["billing", "tax", "a/b", "--category", "books"]) == 0
    assert "VAT FR  0  reverse charge" in capsys.readouterr().out
    stub.routes[path] = Answer(body={"rates": [], "unknown": "The customer's country ..."})
    assert main(["billing", "tax", "a/b"]) == 1
    assert "The customer's country" in capsys.readouterr().out


def test_a_coupon_is_put_with_what_was_said_and_nothing_else(stub: Stub, capsys: Capture) -> None:
    stub.routes["PUT", "/v1/coupons/HALF"] = Answer(body=COUPON)
    words = "coupons put HALF --percent 50 --price tokens --periods 3 --max-redemptions 9"
    assert main(words.split()) == 0
    assert stub.asked[-1].json() == {
        "percent": "50", "prices": ["tokens"], "duration": {"periods": 3}, "max_redemptions": 9,
    }  # fmt: skip
    assert "HALF: 50 % off tokens, 3 periods" in capsys.readouterr().out
    stub.routes["GET", "/v1/coupons"] = Answer(body={"items": [COUPON], "next": None})
    assert main(["coupons", "list"]) == 0
    assert "2 of 9" in capsys.readouterr().out


def test_a_refused_coupon_exits_1(stub: Stub, capsys: Capture) -> None:
    stub.routes["POST", "/v1/customers/acme/discounts"] = problem(409, "coupon_refused")
    assert main(["discounts", "give", "acme", "HALF"]) == 1
    assert stub.asked[-1].json() == {"coupon": "HALF"}
    assert "[coupon_refused]" in capsys.readouterr().err


def test_discounts_are_given_listed_and_ended(stub: Stub, capsys: Capture) -> None:
    stub.routes["POST", "/v1/customers/acme/discounts"] = Answer(201, GIVEN)
    stub.routes["GET", "/v1/customers/acme/discounts"] = Answer(body={"items": [GIVEN]})
    ended = GIVEN | {"ended_at": "2026-11-21T00:00:00Z"}
    stub.routes["DELETE", "/v1/customers/acme/discounts/d1"] = Answer(body=ended)
    give = "discounts give acme --amount 5 --currency EUR --id d1 --forever"
    assert main(give.split()) == 0
    assert stub.asked[-1].json() == {
        "id": "d1", "amount": "5", "currency": "EUR", "duration": "forever",
    }  # fmt: skip
    assert main(["discounts", "list", "acme"]) == 0
    assert main(["discounts", "end", "acme", "d1"]) == 0
    out = capsys.readouterr().out
    assert "5.00 EUR" in out
    assert "d1: ended 2026-11-21" in out
