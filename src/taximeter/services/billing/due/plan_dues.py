"""
What a plan says of an invoice as a whole, for one period: its minimum, maximum, commitment and
discounts, in the currency of the invoice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from taximeter.customers import Segment, Subscription
from taximeter.invoices.charges import Stretch, charged_days
from taximeter.invoices.discounts import Discount
from taximeter.invoices.plan_lines import PlanTerms, TermPlace
from taximeter.money import round_minor
from taximeter.periods import Period, local_day
from taximeter.rating import Proration
from taximeter.rating.tariff import RateBook, in_currency, plan_amount
from taximeter.subscriptions.changes import end_of_term
from taximeter.subscriptions.terms import Part

Held = Sequence[tuple[Part, RateBook]]
"""Of each stretch its plan, with the rates of the period."""


def plan_terms(
    subscription: Subscription,
    held: Held,
    stretches: Sequence[Stretch],
    whole: Period,
    currency: str,
    *,
    began_before: bool,
    goes_on: bool,
) -> tuple[PlanTerms, ...]:
    """
    One for each run of stretches on one plan that says something of its lines together.

    Args:
        whole, began_before, goes_on: See `charges.charges_of`.
    """
    if not any(_says_something_of_all(part) for part, _ in held):
        return ()
    zone = subscription.timezone
    days = charged_days(stretches, zone, began_before=began_before, goes_on=goes_on)
    of = max(1, (local_day(whole.end, zone) - local_day(whole.start, zone)).days)
    found: list[PlanTerms] = []
    for (part, rates), stretch, charged in zip(held, stretches, days, strict=True):
        terms = _terms(subscription, part, rates, stretch.period, Proration(charged, of), currency)
        if found and _is_same(found[-1], terms):
            before = found.pop()
            period = Period(before.period.start, terms.period.end)
            all_days = Proration(before.days.days + charged, of)
            terms = replace(terms, period=period, days=all_days)
        found.append(terms)
    return tuple(_placed(subscription, one) for one in found if _says_something(one))


def _says_something_of_all(part: Part) -> bool:
    plan = part.plan
    return any(one is not None for one in (plan.minimum, plan.maximum, plan.commitment))


def _terms(
    subscription: Subscription,
    part: Part,
    rates: RateBook,
    period: Period,
    days: Proration,
    currency: str,
) -> PlanTerms:
    plan = part.plan
    commitment = plan.commitment
    amount = plan_amount(plan, "commitment", currency, rates)
    if commitment is not None and amount is not None:
        commitment = replace(commitment, amount=amount)
    return PlanTerms(
        name=part.name,
        version=part.version,
        period=period,
        days=days,
        minimum=plan_amount(plan, "minimum", currency, rates),
        maximum=plan_amount(plan, "maximum", currency, rates),
        commitment=commitment,
        tax_category=_tax_category(part),
    )


def _tax_category(part: Part) -> str:
    """That of all the plan's prices, if they have one in common; else the standard one."""
    categories = {price.tax_category for price in part.prices.values()}
    return categories.pop() if len(categories) == 1 else ""


def _is_same(before: PlanTerms, after: PlanTerms) -> bool:
    return (before.name, before.minimum, before.maximum, before.commitment) == (
        after.name, after.minimum, after.maximum, after.commitment,
    )  # fmt: skip


def _says_something(terms: PlanTerms) -> bool:
    amounts = (terms.minimum, terms.maximum, terms.commitment)
    return terms.days.days > 0 and any(one is not None for one in amounts)


# --- terms of a commitment --------------------------------------------------------------------


def _placed(subscription: Subscription, terms: PlanTerms) -> PlanTerms:
    if not terms.has_term:
        return terms
    start, end = term_of(subscription, terms.period.start)
    is_first = start >= terms.period.start
    is_last = end is not None and end <= terms.period.end
    place = {
        (True, True): TermPlace.ONLY,
        (True, False): TermPlace.FIRST,
        (False, True): TermPlace.LAST,
        (False, False): TermPlace.INSIDE,
    }[is_first, is_last]
    return replace(terms, place=place)


def term_of(subscription: Subscription, at: int) -> tuple[int, int | None]:
    """
    The term that a commitment at an instant is for: that of the subscription, or all of it without
    terms, as far as it is on the same plan and no trial. None for no end.
    """
    start, end = subscription.start, subscription.end
    term_end = end_of_term(subscription, at)
    if term_end is not None:
        end = term_end if end is None else min(end, term_end)
        start = max(start, *_ends_before(subscription, at))
    for segment, until in _stays(subscription):
        if segment.start <= at < (until if until is not None else at + 1):
            start = max(start, segment.start)
            if until is not None:
                end = until if end is None else min(end, until)
    return start, end


def _ends_before(subscription: Subscription, at: int) -> Iterator[int]:
    """Ends of the terms that are over; the start of the subscription at least."""
    end = subscription.start
    while end <= at:
        yield end
        following = end_of_term(subscription, end)
        assert following is not None, "it has terms"
        end = following


def _stays(subscription: Subscription) -> Iterator[tuple[Segment, int | None]]:
    """Runs of segments on one plan, each with its first segment and its end."""
    first = subscription.segments[0]
    for segment in subscription.segments[1:]:
        if (segment.plan, segment.trial) != (first.plan, first.trial):
            yield first, segment.start
            first = segment
    yield first, None


# --- discounts --------------------------------------------------------------------------------


def discounts_of(held: Held, currency: str, number: int) -> tuple[Discount, ...]:
    """
    Those that the plans of a period give, each once.

    Args:
        number: Of the billing period, 1 for the first that is charged.
    """
    found: dict[str, Discount] = {}
    alone = len({part.name for part, _ in held}) == 1
    for part, rates in held:
        plan = part.plan
        for one in plan.discounts:
            if one.periods is not None and number > one.periods:
                continue
            amount = one.amount
            found[f"{plan.key}/{one.id}"] = Discount(
                id=f"{plan.key}/{one.id}",
                name=one.name,
                percent=one.percent,
                amount_minor=None
                if amount is None
                else round_minor(in_currency(plan, amount, currency, rates), currency),
                currency="" if amount is None else currency,
                free_pico=one.free_pico,
                prices=() if alone and not one.prices else _prices_of(part, one.prices),
                periods=one.periods,
            )
    return tuple(found.values())


def _prices_of(part: Part, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Of the plan's own prices, not of another plan's by the same key."""
    return tuple(f"{part.name}/{key}" for key in keys or part.prices)
