"""`coupons` and `discounts`: what is offered to everybody, and what customers have."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment
from taximeter.adapters.cli.failures import OK

HERE = Server()
Prices = Annotated[tuple[str, ...], Parameter(name="--price", consume_multiple=False)]

coupons = App(name="coupons", help="Discounts that customers can redeem.")
discounts = App(name="discounts", help="What is taken off a customer's invoices.")


@coupons.command(name="list")
def list_coupons(*, server: Server = HERE) -> int:
    """List the coupons, and how often each was redeemed."""
    answer = server.client().get("/v1/coupons")
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("coupon", "gives", "of", "for", "redeemed", "until")
    for one in answer["items"]:
        limit = "" if one["max_redemptions"] is None else f" of {one['max_redemptions']}"
        table.add_row(
            one["id"], *_terms(one), f"{one['redeemed']}{limit}", plain_time(one["expires_at"])
        )
    console().print(table)
    return OK


@coupons.command(name="put")
def put_coupon(
    coupon: str,
    *,
    percent: str | None = None,
    amount: str | None = None,
    currency: str | None = None,
    free_units: str | None = None,
    price: Prices = (),
    periods: int | None = None,
    forever: bool = False,
    max_redemptions: int | None = None,
    expires_at: str | None = None,
    server: Server = HERE,
) -> int:
    """
    Add a coupon, or replace its terms for those who redeem it from now on.

    Parameters
    ----------
    coupon
        Its id: what customers are told.
    percent
        Off, such as 20; or
    amount
        off, of
    currency
        this currency; or
    free_units
        of one price.
    price
        Key of a price it is for; may be repeated. All without.
    periods
        In how many billing periods; one without.
    forever
        In all.
    max_redemptions
        By all customers together.
    expires_at
        From this instant on it cannot be redeemed.
    """
    body = _wished(percent, amount, currency, free_units, price, periods, forever)
    body |= _given(max_redemptions=max_redemptions, expires_at=expires_at)
    answer = server.client().put(f"/v1/coupons/{segment(coupon)}", body)
    return _told(server, answer, coupon)


@coupons.command(name="remove")
def remove_coupon(coupon: str, *, server: Server = HERE) -> int:
    """
    Withdraw a coupon. Discounts it gave go on.

    Parameters
    ----------
    coupon
        Its id.
    """
    server.client().request("DELETE", f"/v1/coupons/{segment(coupon)}")
    if server.json:
        print_json({"id": coupon, "removed": True})
    else:
        console().print(f"{coupon}: withdrawn", markup=False)
    return OK


@discounts.command(name="list")
def list_discounts(customer: str, *, server: Server = HERE) -> int:
    """
    List the discounts of a customer, in the order they are taken off.

    Parameters
    ----------
    customer
        Its key.
    """
    answer = server.client().get(f"/v1/customers/{segment(customer)}/discounts")
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("discount", "gives", "of", "for", "since", "ended")
    for one in answer["items"]:
        since, ended = plain_time(one["given_at"]), plain_time(one["ended_at"])
        table.add_row(one["id"], *_terms(one), since, ended)
    console().print(table)
    return OK


@discounts.command(name="give")
def give_discount(
    customer: str,
    coupon: str | None = None,
    *,
    id: str | None = None,
    percent: str | None = None,
    amount: str | None = None,
    currency: str | None = None,
    free_units: str | None = None,
    price: Prices = (),
    periods: int | None = None,
    forever: bool = False,
    subscription: str | None = None,
    server: Server = HERE,
) -> int:
    """
    Redeem a coupon for a customer, or give it a discount of its own. Exits 1 if it is refused.

    Parameters
    ----------
    customer
        Its key.
    coupon
        Id of the coupon; or
    percent
        off, such as 20; or
    amount
        off, of
    currency
        this currency; or
    free_units
        of one price.
    id
        Your own id for it: the same one again gives the same discount.
    price
        Key of a price it is for; may be repeated. All without.
    periods
        In how many billing periods; one without.
    forever
        In all.
    subscription
        Only on this subscription.
    """
    body = _wished(percent, amount, currency, free_units, price, periods, forever)
    body |= _given(id=id, coupon=coupon, subscription=subscription)
    answer = server.client().post(f"/v1/customers/{segment(customer)}/discounts", body)
    return _told(server, answer, answer["id"])


@discounts.command(name="end")
def end_discount(customer: str, discount: str, *, server: Server = HERE) -> int:
    """
    End a discount now: the periods that run are without it.

    Parameters
    ----------
    customer
        Its key.
    discount
        Its id.
    """
    path = f"/v1/customers/{segment(customer)}/discounts/{segment(discount)}"
    answer = server.client().request("DELETE", path).json()
    if server.json:
        print_json(answer)
    else:
        ended = plain_time(answer["ended_at"])
        console().print(f"{discount}: ended {ended}", markup=False)
    return OK


def _wished(
    percent: str | None,
    amount: str | None,
    currency: str | None,
    free_units: str | None,
    prices: tuple[str, ...],
    periods: int | None,
    forever: bool,
) -> dict[str, Any]:
    duration: Any = "forever" if forever else None
    if periods is not None:
        duration = {"periods": periods}
    return _given(
        percent=percent,
        amount=amount,
        currency=currency,
        free_units=free_units,
        prices=list(prices) or None,
        duration=duration,
    )


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _terms(one: dict[str, Any]) -> tuple[str, str, str]:
    """What it gives, of which prices, in how many periods."""
    gives = f"{one.get('free_units')} free units"
    if "percent" in one:
        gives = f"{one['percent']} %"
    elif "amount" in one:
        gives = f"{one['amount']} {one['currency']}"
    duration = one["duration"]
    length = duration if isinstance(duration, str) else f"{duration['periods']} periods"
    return gives, ", ".join(one.get("prices", ())) or "all prices", length


def _told(server: Server, answer: dict[str, Any], name: str) -> int:
    if server.json:
        print_json(answer)
    else:
        gives, of, length = _terms(answer)
        console().print(f"{name}: {gives} off {of}, {length}", markup=False)
    return OK
