"""A tax engine outside: asked over real connections, and never believed without a check."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace
from tests.receivers import Answering, Inbox, receiver

from taximeter.adapters.delivery.tax_engine import LEFT_ALONE_S, HttpTaxEngine
from taximeter.invoices.applied import LineDiscount
from taximeter.invoices.invoice import Invoice, Kind, Line
from taximeter.notices.signature import Secret, sign
from taximeter.parties import Party
from taximeter.periods import Period
from taximeter.quantities import E12
from taximeter.services.billing.terms.tax import engine_secret
from taximeter.taxes.answers import read_answer
from taximeter.taxes.applied import AppliedTax
from taximeter.taxes.decide import Situation, Unknown
from taximeter.taxes.rules import Engine, Exemption, TaxRules

MONTH = Period(0, 86_400_000_000)
TAX = {"name": "VAT", "jurisdiction": "DE", "rate": "0.19", "taxable": "9.00", "amount": "1.71"}


def line(number: int, amount: int, **members: Any) -> Line:
    return Line(
        id=f"line_{number}",
        kind=Kind.USAGE,
        description="tokens",
        price="pro/tokens@1",
        period=MONTH,
        quantity_pico=E12,
        amount_minor=amount,
        **members,
    )


INVOICE = Invoice(
    id="inv_1",
    customer="acme",
    subscription="sub_1",
    currency="EUR",
    period=MONTH,
    lines=(line(1, 1_000, discounts=(LineDiscount("d", 100),)), line(2, 0, tax_category="x")),
)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiver() as found:
        found.answer = Answering(body=json.dumps({"taxes": [TAX]}).encode())
        yield found


def secret_of(namespace: str) -> str:
    return engine_secret(b"i" * 32, namespace)


def ask(url: str, *, allow_private: bool = True, timeout_s: int = 5) -> Any:
    rules = TaxRules(engine=Engine(url, timeout_s))
    customer = Party(name="Acme", country="DE", tax_id="DE123456789")
    situation = Situation(rules, Party(name="We", country="DE"), customer, Exemption())

    async def asked() -> tuple[AppliedTax, ...] | Unknown:
        engine = HttpTaxEngine(secret_of, allow_private=allow_private)
        try:
            return await engine.taxes("ns", INVOICE, situation)
        finally:
            await engine.close()

    return asyncio.run(asked())


def test_it_is_told_who_buys_what_and_its_taxes_are_taken(inbox: Inbox) -> None:
    (tax,) = ask(inbox.url)
    assert tax == AppliedTax("VAT", "DE", "", Fraction(19, 100), 900, 171)
    (got,) = inbox.got
    asked = got.json()
    assert (asked["invoice"], asked["currency"]) == ("inv_1", "EUR")
    assert asked["customer"]["tax_id"] == "DE123456789"
    assert [(one["net"], one["tax_category"]) for one in asked["lines"]] == [
        ("9.00", ""), ("0.00", "x"),
    ]  # fmt: skip
    assert asked["tax_exempt"] == {}


def test_a_question_is_signed_with_the_secret_of_its_namespace(inbox: Inbox) -> None:
    ask(inbox.url)
    (got,) = inbox.got
    at = int(got.headers["webhook-timestamp"])
    for namespace, is_right in (("ns", True), ("other", False)):
        expected = sign([Secret(secret_of(namespace))], "inv_1", at, got.body)
        assert (got.headers["webhook-signature"] == expected) is is_right


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answering(status=500), "answered 500"),
        (Answering(status=302, headers={"Location": "/"}), "answered 302"),
        (Answering(body=b"<html>"), "cannot be read"),
        (Answering(body=b"x" * 1_100_000), "more than"),
        (Answering(delay_s=1.5), "within 1 seconds"),
    ],
)
def test_whatever_goes_wrong_is_a_reason_to_look_and_never_a_guess(
    inbox: Inbox, answer: Answering, says: str
) -> None:
    inbox.answer = answer
    found = ask(inbox.url, timeout_s=1)
    assert isinstance(found, Unknown)
    assert says in found.reason


def test_nobody_there_is_a_reason_too() -> None:
    found = ask("http://127.0.0.1:9/")
    assert isinstance(found, Unknown)
    assert "cannot be reached" in found.reason


def test_an_engine_that_is_silent_is_left_alone_for_a_moment(inbox: Inbox) -> None:
    inbox.answer = Answering(write=lambda file: None)
    clock = [100.0]
    situation = Situation(TaxRules(engine=Engine(inbox.url)))

    async def many() -> list[str]:
        engine = HttpTaxEngine(secret_of, allow_private=True, now=lambda: clock[0])
        reasons: list[str] = []
        for _ in range(5):
            found = await engine.taxes("ns", INVOICE, situation)
            assert isinstance(found, Unknown)
            reasons.append(found.reason)
        inbox.answer = Answering(body=b'{"taxes": []}')
        clock[0] += LEFT_ALONE_S
        assert await engine.taxes("ns", INVOICE, situation) == ()
        await engine.close()
        return reasons

    reasons = asyncio.run(many())
    assert ["in a row" in reason for reason in reasons] == [False, False, False, True, True]
    assert len(inbox.got) == 4


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://localhost/", "https://10.0.0.1/"])
def test_private_addresses_are_not_asked(url: str) -> None:
    found = ask(url, allow_private=False)
    assert isinstance(found, Unknown)
    assert "may not be asked" in found.reason


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rate": "19"}, "not from 0 to 1"),
        ({"rate": "1/5"}, "is not a tax"),
        ({"taxable": "10.01", "amount": "1.90"}, "more than the lines"),
        ({"amount": "2.00"}, "not rate x taxable"),
        ({"amount": "1.711"}, "is not a tax"),
        ({"name": ""}, "is not a tax"),
        ({"name": "VAT\u202e"}, "is not a tax"),
        ({"note": "because"}, "cannot be read"),
        ({"extra": 1}, "cannot be read"),
    ],
)
def test_taxes_that_do_not_add_up_are_not_taken(change: dict[str, Any], says: str) -> None:
    found = read_answer(json.dumps({"taxes": [TAX | change]}).encode(), [900, 0], "EUR")
    assert isinstance(found, Unknown)
    assert says in found.reason


def test_an_engine_may_round_each_line_on_its_own() -> None:
    body = json.dumps({"taxes": [TAX | {"amount": "1.73"}]}).encode()
    assert isinstance(read_answer(body, [900], "EUR"), Unknown)
    (tax,) = read_answer(body, [450, 450], "EUR")  # type: ignore[misc]
    assert tax == replace(tax, amount_minor=173)
