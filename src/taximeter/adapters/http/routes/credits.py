"""
Credits over HTTP: grants, balances, the ledger.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import gate_shapes as shapes
from taximeter.adapters.http.routes.answers import told
from taximeter.adapters.http.routes.paging import keyset, limit_of, listed
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import NotFound, Rejected
from taximeter.gate.topup import TopUp
from taximeter.instants import SECOND, format_instant, parse_instant
from taximeter.ledger.transaction import is_balance_account
from taximeter.ports import LedgerRow
from taximeter.quantities import format_quantity
from taximeter.services.core import require_customer
from taximeter.services.gate import credits
from taximeter.services.gate.clockwork import prepare

_LOG = ("overloaded", "storage_full", "storage_failed")
_GRANTING = ("not_found", "invalid_amount", "invalid_timestamp", "unknown_timezone",
             "event_conflict", *_LOG)  # fmt: skip


class CreditRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        top_up = "/v1/customers/{key}/auto-top-ups/{credit}"
        return [
            Route(
                "POST", "/v1/customers/{key}/grants", self.grant,
                scope="write", tags=("credits",), summary="Give a customer credit",
                description="The same `id` and body again gives the same answer.",
                request=shapes.GrantBody, response=shapes.GrantAnswer, status=201,
                errors=_GRANTING, idempotent=True,
                example={"id": "welcome", "credit": "usd", "amount": "100", "kind": "promotional"},
            ),
            Route(
                "POST", "/v1/customers/{key}/top-ups", self.top_up,
                scope="write", tags=("credits",), summary="Credit that was paid for",
                request=shapes.GrantBody, response=shapes.GrantAnswer, status=201,
                errors=_GRANTING, idempotent=True,
                example={"id": "order_17", "credit": "usd", "amount": "50"},
            ),
            Route(
                "GET", "/v1/grants/{id}", self.get_grant,
                scope="read", tags=("credits",), summary="One grant",
                response=shapes.GrantAnswer, errors=("not_found",),
            ),
            Route(
                "POST", "/v1/grants/{id}/void", self.void,
                scope="write", tags=("credits",), summary="End a grant early",
                description="What is left of it and not reserved goes back.",
                request=shapes.ReasonBody, response=shapes.CreditAnswer,
                errors=("not_found", "grant_ended", *_LOG), idempotent=True,
            ),
            Route(
                "POST", "/v1/grants/{id}/refund", self.refund,
                scope="write", tags=("credits",), summary="Give paid credit back",
                description="Only what is neither spent nor reserved.",
                request=shapes.RefundBody, response=shapes.CreditAnswer,
                errors=("not_found", "grant_ended", "insufficient_credit", "invalid_amount",
                        "event_conflict", *_LOG),
                idempotent=True, example={"id": "refund_1", "amount": "20"},
            ),
            Route(
                "POST", "/v1/customers/{key}/transfers", self.transfer,
                scope="write", tags=("credits",), summary="Move credit to another customer",
                request=shapes.TransferBody, response=shapes.CreditAnswer,
                errors=("not_found", "insufficient_credit", "invalid_amount", "event_conflict",
                        *_LOG),
                idempotent=True, example={"to": "globex", "credit": "usd", "amount": "10"},
            ),
            Route(
                "PUT", top_up, self.put_top_up,
                scope="write", tags=("credits",), summary="Top up automatically",
                description="When what is available falls below `below`, one grant of `amount` is "
                "made in the same step, at most `max_per_day` in 24 hours.",
                request=shapes.TopUpBody,
                errors=("not_found", "invalid_amount", *_LOG), idempotent=True,
                example={"below": "10", "amount": "50", "cooldown_s": 60, "max_per_day": 3},
            ),
            Route(
                "GET", top_up, self.get_top_up,
                scope="read", tags=("credits",), summary="The automatic top-up of a credit",
                errors=("not_found",),
            ),
            Route(
                "DELETE", top_up, self.delete_top_up,
                scope="write", tags=("credits",), summary="End automatic top-ups",
                errors=("not_found", *_LOG), idempotent=True,
            ),
            Route(
                "GET", "/v1/customers/{key}/balance", self.balance,
                scope="check", tags=("credits",), summary="What is left, grant by grant",
                description="With `credit`: that one; without: all in `items`. With `at`: the "
                "balance at that instant, from the ledger.",
                query=shapes.BalanceParameters,
                errors=("not_found", "invalid_timestamp", "storage_failed"),
            ),
            Route(
                "GET", "/v1/customers/{key}/ledger", self.ledger,
                scope="read", tags=("credits",), summary="Every transaction, in order",
                query=shapes.LedgerParameters, response=shapes.AnyList,
                errors=("not_found", "invalid_parameter", "invalid_timestamp", "storage_failed"),
            ),
            Route(
                "GET", "/v1/ledger/trial-balance", self.trial_balance,
                scope="read", tags=("credits",), summary="What stands on each account",
                description="Each credit sums to zero.",
                response=shapes.AnyList, errors=("storage_failed",),
            ),
        ]  # fmt: skip

    async def grant(self, request: Request) -> Response:
        return await self._grant(request, "promotional")

    async def top_up(self, request: Request) -> Response:
        return await self._grant(request, "paid")

    async def _grant(self, request: Request, kind: str) -> Response:
        body = request.json(shapes.GrantBody)
        document = {
            name: value for name, value in msgspec.structs.asdict(body).items() if value is not None
        }
        document.setdefault("kind", kind)
        tenant, commands = self._around.tenant(request), self._around.commands_of(request)
        result = commands.under_key(tenant) or credits.grant(
            self._core,
            commands,
            tenant,
            request.params["key"],
            document,
            self._core.clock.now(),
            actor=self._around.actor(request),
        )
        return await told(self._around, result, 201)

    async def get_grant(self, request: Request) -> Response:
        issued = credits.find_grant(self._around.tenant(request), request.params["id"])
        return json_response(credits.grant_json(issued.grant, issued.customer))

    async def void(self, request: Request) -> Response:
        body = request.json(shapes.ReasonBody) if request.body else shapes.ReasonBody()
        tenant, commands = self._around.tenant(request), self._around.commands_of(request)
        result = commands.under_key(tenant) or credits.void(
            self._core,
            commands,
            tenant,
            request.params["id"],
            body.reason,
            self._core.clock.now(),
        )
        return await told(self._around, result)

    async def refund(self, request: Request) -> Response:
        body = request.json(shapes.RefundBody)
        tenant, commands = self._around.tenant(request), self._around.commands_of(request)
        result = commands.under_key(tenant) or credits.refund(
            self._core,
            commands,
            tenant,
            request.params["id"],
            body.id,
            credits.positive(body.amount, "amount"),
            body.reason,
            self._core.clock.now(),
        )
        return await told(self._around, result)

    async def transfer(self, request: Request) -> Response:
        body = request.json(shapes.TransferBody)
        tenant, commands = self._around.tenant(request), self._around.commands_of(request)
        result = commands.under_key(tenant) or credits.transfer(
            self._core,
            commands,
            tenant,
            request.params["key"],
            body.to,
            body.credit,
            credits.positive(body.amount, "amount"),
            body.id,
            self._core.clock.now(),
        )
        return await told(self._around, result)

    # --- automatic top-ups --------------------------------------------------------------------

    async def put_top_up(self, request: Request) -> Response:
        body = request.json(shapes.TopUpBody)
        if body.cooldown_s < 0 or body.max_per_day < 1 or (body.lifetime_s or 1) < 1:
            raise Rejected(
                "invalid_request", "cooldown_s is from 0, max_per_day and lifetime_s from 1."
            )
        lifetime = None if body.lifetime_s is None else body.lifetime_s * SECOND
        top_up = TopUp(
            request.params["credit"],
            credits.positive(body.below, "below"),
            credits.positive(body.amount, "amount"),
            body.cooldown_s * SECOND,
            body.max_per_day,
            lifetime,
        )
        return await self._set_top_up(request, top_up)

    async def delete_top_up(self, request: Request) -> Response:
        self._top_up(request)
        return await self._set_top_up(request, None)

    async def get_top_up(self, request: Request) -> Response:
        return json_response(credits.top_up_json(self._top_up(request)))

    async def _set_top_up(self, request: Request, top_up: TopUp | None) -> Response:
        result = credits.set_top_up(
            self._core,
            self._around.commands,
            self._around.tenant(request),
            request.params["key"],
            request.params["credit"],
            top_up,
            self._core.clock.now(),
        )
        return await told(self._around, result)

    def _top_up(self, request: Request) -> TopUp:
        tenant, customer = self._around.tenant(request), request.params["key"]
        require_customer(tenant, customer)
        purse = tenant.live.gate.purses.get(customer)
        found = None if purse is None else purse.top_ups.get(request.params["credit"])
        if found is None:
            raise NotFound("not_found", f"Customer {customer!r} has no such automatic top-up.")
        return found

    # --- what is left -------------------------------------------------------------------------

    async def balance(self, request: Request) -> Response:
        query = request.query_as(shapes.BalanceParameters)
        tenant, customer = self._around.tenant(request), request.params["key"]
        require_customer(tenant, customer)
        now = self._core.clock.now()
        at = None if query.at is None else parse_instant(query.at)
        prepare(self._around.commands, tenant, customer, now)
        purse = tenant.live.gate.purses.get(customer)
        chosen = list(credits.credits_of(purse, query.credit))
        if at is not None and at < now:
            await self._core.upto()
            items = [await self._balance_at(tenant.name, customer, one, at) for one in chosen]
        else:
            items = [credits.balance_json(tenant, customer, one) for one in chosen]
        as_of = self._core.as_of()
        # A crash must not take back what is shown. On a full disk, reading goes on.
        await self._core.committer.settled(self._core.sequencer.position)
        if query.credit is not None:
            return json_response(items[0] | {"as_of": as_of})
        return json_response({"items": items, "next": None, "as_of": as_of})

    async def _balance_at(
        self, namespace: str, customer: str, credit: str, at: int
    ) -> dict[str, Any]:
        pico = await self._around.ledger.balance_pico_at(namespace, customer, credit, at)
        return {
            "customer": customer,
            "credit": credit,
            "at": format_instant(at),
            "balance": format_quantity(pico),
        }

    async def ledger(self, request: Request) -> Response:
        query = request.query_as(shapes.LedgerParameters)
        tenant, customer = self._around.tenant(request), request.params["key"]
        require_customer(tenant, customer)
        prepare(self._around.commands, tenant, customer, self._core.clock.now())
        limit = limit_of(query.limit)
        await self._core.upto()
        found = await self._around.ledger.transactions(
            tenant.name,
            customer,
            credit=query.credit,
            start=None if query.from_ is None else parse_instant(query.from_),
            end=None if query.to is None else parse_instant(query.to),
            after=keyset(query.cursor) or 0,
            limit=limit + 1,
        )
        following = str(found[limit - 1][0]) if len(found) > limit else None
        return json_response(listed([_row_json(row) for _, row in found[:limit]], following))

    async def trial_balance(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        await self._core.upto()
        sums = await self._around.ledger.sums(tenant.name)
        items = [
            {
                "credit": one.credit,
                "account": one.account,
                "amount": format_quantity(one.amount_pico),
            }
            for one in sums
        ]
        return json_response(listed(items, None))


def _row_json(row: LedgerRow) -> dict[str, Any]:
    one = row.transaction
    # What the balance moved by: its accounts are those of the wallet itself.
    moved = sum(
        posting.amount_pico for posting in one.postings if is_balance_account(posting.account)
    )
    return {
        "credit": row.credit,
        "seq": row.seq,
        "amount": format_quantity(moved),
        **one.to_json(),
    }
