"""Billing settings as a document: read strictly, written the same for ever, without loss."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import patient

from taximeter.errors import Rejected
from taximeter.instants import parse_instant
from taximeter.invoices.settings import (
    BillingSettings,
    SettingsDocument,
    dump_settings,
    parse_settings,
    read_settings,
    settings_bytes,
)
from taximeter.taxes.rules import Registration, TaxRate

_decoder = msgspec.json.Decoder(SettingsDocument, float_hook=Decimal)


def read(document: dict[str, Any] | bytes) -> BillingSettings:
    text = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return read_settings(_decoder.decode(text))


def test_an_empty_document_is_the_defaults() -> None:
    assert read({}) == BillingSettings()
    assert parse_settings(settings_bytes(BillingSettings())) == BillingSettings()


def test_numbers_of_a_document_are_read_as_decimals_and_never_as_floats() -> None:
    """K5: 0.07 is seven hundredths, not 0.070000000000000006661."""
    rate = b'{"name": "VAT", "country": "DE", "rate": 0.07}'
    settings = read(b'{"write_off": {"EUR": 0.07}, "tax": {"rates": [' + rate + b"]}}")
    assert settings.write_off_minor == {"EUR": 7}
    assert settings.tax.rates[0].rate == Fraction(7, 100)


def test_the_same_settings_have_the_same_bytes_in_whatever_order_they_came() -> None:
    one = read({"write_off": {"EUR": "1", "USD": "2.00"}, "due_days": 7})
    two = read({"due_days": 7, "write_off": {"USD": 2, "EUR": "1.00"}})
    assert settings_bytes(one) == settings_bytes(two)


def test_one_tax_may_have_one_rate_after_the_other_but_not_two_at_once() -> None:
    rate = {"name": "VAT", "country": "DE", "rate": "0.19"}
    new_year = "2027-01-01T00:00:00+01:00"
    settings = read({"tax": {"rates": [rate | {"until": new_year}, rate | {"from": new_year}]}})
    assert settings.tax.rates[0].end == settings.tax.rates[1].start == parse_instant(new_year)
    read({"tax": {"rates": [rate, rate | {"category": "books"}, rate | {"name": "other"}]}})
    with pytest.raises(Rejected, match="at most one at a time for VAT DE"):
        read({"tax": {"rates": [rate | {"until": new_year}, rate]}})
    with pytest.raises(Rejected, match=r"tax\.registrations: at most one at a time for DE"):
        read({"tax": {"registrations": [{"country": "DE"}, {"country": "DE", "tax_id": ""}]}})


def test_an_end_comes_after_its_beginning() -> None:
    dates = {"from": "2027-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}
    with pytest.raises(Rejected, match=r"registrations\[0\]\.until: later than from"):
        read({"tax": {"registrations": [{"country": "DE"} | dates]}})


moments = st.none() | st.integers(0, 2 * 10**15)
countries = st.sampled_from(["DE", "US", "JP"])
regions = st.sampled_from(["", "CA", "13"])
registrations = st.builds(
    Registration, country=countries, region=regions, inclusive=st.booleans(), start=moments
)
rates = st.builds(
    TaxRate,
    name=st.text("aB \u00e9\u7a0e%", min_size=1, max_size=9).map(str.strip).filter(bool),
    country=countries,
    region=regions,
    category=st.sampled_from(["", "books"]),
    rate=st.integers(0, 10**12).map(lambda pico: Fraction(pico, 10**12)),
    end=moments,
)


@patient
@given(
    registrations=st.lists(registrations, max_size=3, unique_by=lambda r: (r.country, r.region)),
    rates=st.lists(rates, max_size=4, unique_by=lambda r: (r.name, r.jurisdiction, r.category)),
    due_days=st.integers(0, 365),
    grace_s=st.integers(0, 3660 * 86_400),
    amounts=st.dictionaries(st.sampled_from(["EUR", "JPY", "KWD"]), st.integers(0, 10**9)),
)
def test_settings_are_stored_and_read_without_loss(
    registrations: list[Registration],
    rates: list[TaxRate],
    due_days: int,
    grace_s: int,
    amounts: dict[str, int],
) -> None:
    defaults = BillingSettings()
    settings = msgspec.structs.replace(
        defaults,
        due_days=due_days,
        grace_us=grace_s * 1_000_000 if grace_s < 10**6 else 0,
        write_off_minor=amounts,
        tax=msgspec.structs.replace(
            defaults.tax, registrations=tuple(registrations), rates=tuple(rates)
        ),
    )
    assert parse_settings(settings_bytes(settings)) == settings
    assert read(dump_settings(settings)) == settings
