"""K6: which rates apply to whom, and what they come to. The examples are those of the docs."""

from __future__ import annotations

from fractions import Fraction

import pytest
from msgspec.structs import replace

from taximeter.instants import parse_instant
from taximeter.parties import Party
from taximeter.taxes.applied import AppliedTax
from taximeter.taxes.apply import Taxable, taxes_of
from taximeter.taxes.decide import Situation, Unknown
from taximeter.taxes.rules import Exemption, Registration, TaxRate, TaxRules
from taximeter.taxes.tax_ids import is_tax_id

AT = parse_instant("2026-11-30T22:59:59.999999Z")
DE = Party(name="Acme GmbH", country="DE", tax_id="DE123456789")
GERMAN = Party(name="Beta", country="DE")
VAT_19 = TaxRate(name="VAT", country="DE", rate=Fraction(19, 100))
VAT_7 = TaxRate(name="VAT", country="DE", category="reduced", rate=Fraction(7, 100))
RULES = TaxRules((Registration(country="DE"),), (VAT_19, VAT_7))


def taxes(
    rules: TaxRules,
    customer: Party | None,
    *nets: int | tuple[str, int],
    currency: str = "EUR",
    issuer: Party | None = DE,
    exemption: Exemption | None = None,
    at: int = AT,
) -> tuple[AppliedTax, ...] | Unknown:
    situation = Situation(rules, issuer, customer, exemption)
    lines = [("", net) if isinstance(net, int) else net for net in nets]
    return taxes_of([Taxable(name, at, net) for name, net in lines], situation, currency)


def amounts(found: tuple[AppliedTax, ...] | Unknown) -> list[tuple[str, str, int, int]]:
    assert not isinstance(found, Unknown), found.reason
    return [(tax.jurisdiction, str(tax.rate), tax.taxable_minor, tax.amount_minor) for tax in found]


def test_each_rate_is_put_on_the_sum_of_its_lines_and_rounded_once() -> None:
    """K6: 19 % of 0.13 is 0.02 three times over, but of 0.39 it is 0.07."""
    assert amounts(taxes(RULES, GERMAN, 13, 13, 13)) == [("DE", "19/100", 39, 7)]
    found = taxes(RULES, GERMAN, 10_000, ("reduced", 1_999), 4_950)
    assert amounts(found) == [("DE", "19/100", 14_950, 2_841), ("DE", "7/100", 1_999, 140)]


def test_half_a_cent_of_tax_is_rounded_away_from_zero_also_of_a_credit() -> None:
    """K5, K6: 19 % of 0.50 is 0.095."""
    assert amounts(taxes(RULES, GERMAN, 50)) == [("DE", "19/100", 50, 10)]
    assert amounts(taxes(RULES, GERMAN, -50)) == [("DE", "19/100", -50, -10)]


def test_prices_that_include_tax_are_split_so_that_net_and_tax_add_up() -> None:
    """K6: 49.00 with 19 % in it is 41.18 + 7.82."""
    rules = replace(RULES, registrations=(Registration(country="DE", inclusive=True),))
    (tax,) = found = taxes(rules, GERMAN, 4_900)  # type: ignore[misc]
    assert amounts(found) == [("DE", "19/100", 4_118, 782)]
    assert tax.inclusive


def test_several_taxes_in_one_price_are_split_by_their_rates_together() -> None:
    """K6: of 114.975, 5 % and 9.975 % of the same net of 100.00."""
    rates = (
        TaxRate(name="GST", country="CA", rate=Fraction(5, 100)),
        TaxRate(name="QST", country="CA", region="QC", rate=Fraction(9975, 100_000)),
    )
    rules = TaxRules((Registration(country="CA", inclusive=True),), rates)
    quebec = Party(country="CA", region="QC")
    found = taxes(rules, quebec, 11_498, currency="CAD")
    assert amounts(found) == [("CA", "1/20", 10_000, 500), ("CA-QC", "399/4000", 10_000, 998)]


def test_taxes_of_different_names_add_up_and_of_one_name_the_region_comes_first() -> None:
    rates = (
        TaxRate(name="GST/HST", country="CA", rate=Fraction(5, 100)),
        TaxRate(name="GST/HST", country="CA", region="ON", rate=Fraction(13, 100)),
        TaxRate(name="QST", country="CA", region="QC", rate=Fraction(9975, 100_000)),
    )
    rules = TaxRules((Registration(country="CA"),), rates)
    for region, expected in (
        ("AB", [("CA", "1/20", 10_000, 500)]),
        ("ON", [("CA-ON", "13/100", 10_000, 1_300)]),
        ("QC", [("CA", "1/20", 10_000, 500), ("CA-QC", "399/4000", 10_000, 998)]),
    ):
        customer = Party(country="CA", region=region)
        assert amounts(taxes(rules, customer, 10_000, currency="CAD")) == expected


def test_a_rate_for_the_category_comes_before_one_for_the_region() -> None:
    standard = TaxRate(name="GST/HST", country="CA", region="ON", rate=Fraction(13, 100))
    nationwide = TaxRate(name="GST/HST", country="CA", category="grocery", rate=Fraction(0))
    rules = TaxRules((Registration(country="CA"),), (standard, nationwide))
    found = taxes(rules, Party(country="CA", region="ON"), 10_000, ("grocery", 500), currency="CAD")
    assert amounts(found) == [("CA", "0", 500, 0), ("CA-ON", "13/100", 10_000, 1_300)]


def test_only_taxes_are_collected_that_the_issuer_is_registered_for() -> None:
    rates = (
        TaxRate(name="GST", country="CA", rate=Fraction(5, 100)),
        TaxRate(name="QST", country="CA", region="QC", rate=Fraction(9975, 100_000)),
    )
    rules = TaxRules((Registration(country="CA", region="QC"),), rates)
    quebec = Party(country="CA", region="QC")
    assert amounts(taxes(rules, quebec, 10_000, currency="CAD")) == [
        ("CA-QC", "399/4000", 10_000, 998)
    ]


def test_a_state_is_taxed_where_the_issuer_is_registered_and_not_elsewhere() -> None:
    rates = (TaxRate(name="Sales tax", country="US", region="NY", rate=Fraction(4, 100)),)
    rules = TaxRules((Registration(country="US", region="NY"),), rates)
    assert amounts(taxes(rules, Party(country="US", region="NY"), 9_999, currency="USD")) == [
        ("US-NY", "1/25", 9_999, 400)
    ]
    assert taxes(rules, Party(country="US", region="OR"), 9_999, currency="USD") == ()
    assert taxes(rules, Party(country="DE"), 9_999, currency="USD") == ()
    unknown = taxes(rules, Party(country="US"), 9_999, currency="USD")
    assert isinstance(unknown, Unknown)
    assert "region" in unknown.reason


def test_currencies_without_and_with_three_digits_are_rounded_to_their_own() -> None:
    """K5: JPY 0 digits, KWD 3."""
    japan = TaxRules(
        (Registration(country="JP"),),
        (TaxRate(name="Consumption tax", country="JP", rate=Fraction(1, 10)),),
    )
    assert amounts(taxes(japan, Party(country="JP"), 1_995, currency="JPY")) == [
        ("JP", "1/10", 1_995, 200)
    ]
    kuwait = TaxRules(
        (Registration(country="KW"),), (TaxRate(name="VAT", country="KW", rate=Fraction(5, 100)),)
    )
    assert amounts(taxes(kuwait, Party(country="KW"), 12_345, currency="KWD")) == [
        ("KW", "1/20", 12_345, 617)
    ]


def test_a_business_in_another_eu_country_owes_the_tax_itself() -> None:
    paris = Party(country="FR", tax_id="FR12345678901")
    (tax,) = taxes(RULES, paris, 10_000, ("reduced", 500))  # type: ignore[misc]
    assert tax == AppliedTax("VAT", "FR", "", Fraction(0), 10_500, 0, note="reverse_charge")


@pytest.mark.parametrize(
    ("issuer", "customer"),
    [
        (DE, replace(GERMAN, tax_id="DE987654321")),  # at home
        (DE, Party(country="FR")),  # a consumer
        (DE, Party(country="FR", tax_id="DE987654321")),  # an id of another country
        (replace(DE, tax_id=""), Party(country="FR", tax_id="FR12345678901")),
    ],
)
def test_without_two_vat_ids_of_two_countries_the_home_rate_applies(
    issuer: Party, customer: Party
) -> None:
    assert amounts(taxes(RULES, customer, 10_000, issuer=issuer)) == [
        ("DE", "19/100", 10_000, 1_900)
    ]


def test_a_consumer_in_the_eu_pays_the_rate_of_the_place_once_the_issuer_collects_it() -> None:
    rates = (*RULES.rates, TaxRate(name="VAT", country="FR", rate=Fraction(20, 100)))
    rules = TaxRules((*RULES.registrations, Registration(country="FR")), rates)
    assert amounts(taxes(rules, Party(country="FR"), 10_000)) == [("FR", "1/5", 10_000, 2_000)]
    assert taxes(RULES, Party(country="CH"), 10_000) == (), "an export"


def test_who_is_exempt_pays_nothing_while_the_certificate_holds() -> None:
    exemption = Exemption(certificate="C-1", end=AT + 1)
    (tax,) = taxes(RULES, GERMAN, 10_000, exemption=exemption)  # type: ignore[misc]
    assert tax == AppliedTax("VAT", "DE", "", Fraction(0), 10_000, 0, note="exempt")
    later = taxes(RULES, GERMAN, 10_000, exemption=exemption, at=AT + 1)
    assert amounts(later) == [("DE", "19/100", 10_000, 1_900)]


def test_a_rate_holds_from_its_first_instant_up_to_but_not_at_its_last() -> None:
    new_year = parse_instant("2026-12-31T23:00:00Z")
    rates = (replace(VAT_19, end=new_year), replace(VAT_19, start=new_year, rate=Fraction(1, 5)))
    rules = replace(RULES, rates=rates)
    assert amounts(taxes(rules, GERMAN, 100, at=new_year - 1)) == [("DE", "19/100", 100, 19)]
    assert amounts(taxes(rules, GERMAN, 100, at=new_year)) == [("DE", "1/5", 100, 20)]


def test_lines_of_an_old_period_keep_its_rate_beside_those_of_the_new_one() -> None:
    """K15: an adjustment is taxed as the period it corrects."""
    rates = (replace(VAT_19, end=AT), replace(VAT_19, start=AT, rate=Fraction(1, 5)))
    situation = Situation(replace(RULES, rates=rates), DE, GERMAN)
    found = taxes_of([Taxable("", AT - 1, -100), Taxable("", AT, 1_000)], situation, "EUR")
    assert amounts(found) == [("DE", "19/100", -100, -19), ("DE", "1/5", 1_000, 200)]


@pytest.mark.parametrize(
    ("rules", "customer", "category", "says"),
    [
        (RULES, None, "", "country is not known"),
        (RULES, Party(), "", "country is not known"),
        (replace(RULES, rates=(VAT_7,)), GERMAN, "", "No rate for the standard category in DE"),
        (replace(RULES, rates=()), GERMAN, "books", "No rate for category 'books' in DE"),
    ],
)
def test_what_the_rules_do_not_say_is_not_guessed(
    rules: TaxRules, customer: Party | None, category: str, says: str
) -> None:
    found = taxes(rules, customer, (category, 100))
    assert isinstance(found, Unknown)
    assert says in found.reason


def test_nothing_is_asked_about_a_line_of_nothing_nor_where_nothing_is_collected() -> None:
    assert taxes(RULES, None, 0, ("books", 0)) == ()
    assert taxes(TaxRules(), None, 100) == ()


@pytest.mark.parametrize(
    ("country", "tax_id", "is_one"),
    [
        ("DE", "DE123456789", True),
        ("DE", "de 123 456 789", True),
        ("DE", "123456789", False),
        ("DE", "DE023456789", False),
        ("AT", "ATU12345678", True),
        ("AT", "AT12345678", False),
        ("GR", "EL123456789", True),
        ("GR", "GR123456789", False),
        ("NL", "NL123456789B01", True),
        ("FR", "FRXX123456789", True),
        ("IE", "IE1234567FA", True),
        ("ES", "ESX1234567Z", True),
        ("GB", "GB123456789", True),
        ("CH", "CHE-123.456.789 MWST", True),
        ("AU", "12 345 678 901", True),
        ("US", "12-3456789", True),
        ("", "anything 1", True),
        ("US", "", False),
        ("US", "<script>", False),
        ("DE", "DE12345678\u0669", False),
    ],
)
def test_a_tax_id_has_the_form_of_its_country(country: str, tax_id: str, is_one: bool) -> None:
    assert is_tax_id(country, tax_id) is is_one
