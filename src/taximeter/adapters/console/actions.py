"""
What people can do from a page: a form for each, and the operation of the API that it stands for.

A form says what will happen before it does, and where the API can take it back, offers that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from taximeter.adapters.console.action import Action, Field, Preview, variables
from taximeter.adapters.console.bill_actions import BILL_ACTIONS

_REASON: Final = Field("reason", "Reason", hint="Kept with the change.")
_NOTE: Final = Field("note", "Note", hint="Kept with the decision.")
_AMOUNT: Final = Field("amount", "Amount", "quantity", required=True)
_WHEN: Final = Field("at", "When", "choice", options=("period_end", "now"))
_RESETS: Final = ("period", "hour", "day", "week", "month", "never")


def _means(action: str) -> Preview:
    """What a change of a subscription would mean."""
    path, fixed = "/v1/subscriptions/{id}/preview", ("plan", "at", "until")
    return Preview(path, "part_preview.html", action=action, fixed=fixed)


_ALL: Final = (
    Action(
        "grant", "Give credit", "POST", "/v1/customers/{customer}/grants",
        "The credit can be spent at once, or from the day it takes effect.",
        "Credit given.",
        fields=(
            Field("credit", "Credit", required=True, options=("CREDITS",), hint="Such as usd."),
            _AMOUNT,
            Field("kind", "Kind", "choice", options=("promotional", "paid")),
            Field("id", "Id", hint="Your own name for it; without one it gets one."),
            Field("priority", "Priority", "integer", hint="Lower is spent first."),
            Field("effective_at", "Takes effect", "instant"),
            Field("expires_at", "Expires", "instant", hint="Unused credit is gone then."),
            Field("features", "Only for", "list", hint="Features it may pay for, by commas."),
            _REASON,
        ),
        back="/customers/{customer}", undo="void-grant",
    ),
    Action(
        "void-grant", "Void a grant", "POST", "/v1/grants/{id}/void",
        "What is left of it and not reserved goes back at once. What was spent stays spent.",
        "Grant voided.", fields=(_REASON,), is_grave=True,
    ),
    Action(
        "refund-grant", "Refund paid credit", "POST", "/v1/grants/{id}/refund",
        "Takes credit back that is neither spent nor reserved. The money is for you to return.",
        "Credit refunded.", fields=(_AMOUNT, _REASON), is_grave=True,
    ),
    Action(
        "top-up", "Top up by itself", "PUT", "/v1/customers/{customer}/auto-top-ups/{credit}",
        "When what is available falls below the line, one grant is made in the same step.",
        "Automatic top-up set.",
        fields=(
            Field("credit", "Credit", required=True, options=("CREDITS",)),
            Field("below", "When below", "quantity", required=True),
            _AMOUNT,
            Field("cooldown_s", "Pause between two, in seconds", "integer"),
            Field("max_per_day", "At most, in 24 hours", "integer"),
        ),
        undo="end-top-up",
    ),
    Action(
        "end-top-up", "End automatic top-ups", "DELETE",
        "/v1/customers/{customer}/auto-top-ups/{credit}",
        "No more grants are made by themselves. Those made stay.", "Automatic top-up ended.",
    ),
    Action(
        "budget", "Set a budget", "PUT", "/v1/customers/{customer}/budgets/{id}",
        "Usage counts against it from now on, beside the limits of the plan.",
        "Budget set.",
        fields=(
            Field("id", "Id", required=True, hint="The same id again replaces it."),
            Field("limit", "Limit", "quantity", required=True),
            Field("feature", "Of a feature", "choice", options=("METERED",), absent="none"),
            Field("credit", "Or of a credit", options=("CREDITS",)),
            Field("scope", "Of", "scope", hint="user=u7, team=red. Empty: the customer itself."),
            Field("reset", "Starts anew each", "choice", options=_RESETS),
            Field("enforcement", "Enforcement", "choice", options=("hard", "soft")),
        ),
        undo="remove-budget",
    ),
    Action(
        "remove-budget", "Remove a budget", "DELETE", "/v1/customers/{customer}/budgets/{id}",
        "It bounds nothing any more. The limits of the plan stay.", "Budget removed.",
        is_grave=True,
    ),
    Action(
        "seat", "Assign a seat", "PUT", "/v1/customers/{customer}/seats/{feature}/{holder}",
        "The holder has it until it is released.", "Seat assigned.", "check",
        fields=(Field("holder", "Holder", required=True),), undo="release-seat",
    ),
    Action(
        "release-seat", "Release a seat", "DELETE",
        "/v1/customers/{customer}/seats/{feature}/{holder}",
        "Somebody else can have it.", "Seat released.", "check", undo="assign-seat-again",
    ),
    Action(
        "assign-seat-again", "Assign the seat again", "PUT",
        "/v1/customers/{customer}/seats/{feature}/{holder}",
        "The holder has it until it is released.", "Seat assigned.", "check", undo="release-seat",
    ),
    Action(
        "release", "Release a reservation", "POST", "/v1/reservations/{id}/release",
        "What it holds is free at once. Whoever holds it can no longer settle it.",
        "Reservation released.", "check", is_grave=True,
    ),
    Action(
        "release-lease", "Release a lease", "POST", "/v1/leases/{id}/release",
        "What is unused of it is free at once. Usage that still comes for it counts all the same.",
        "Lease released.", "check", is_grave=True,
    ),
    Action(
        "subscribe", "Subscribe to a plan", "POST", "/v1/subscriptions",
        "Limits hold and the fare runs from now on.", "Subscribed.",
        fields=(
            Field("plan", "Plan", "choice", required=True, options=("PLANS",)),
            Field("anchor", "Periods", "choice", options=("calendar", "anniversary")),
        ),
        given=("customer",), undo="cancel",
    ),
    Action(
        "change", "Change the plan", "POST", "/v1/subscriptions/{id}/change",
        "Holds for the very next request, or from the end of the period.", "Plan changed.",
        fields=(Field("plan", "Plan", "choice", required=True, options=("PLANS",)), _WHEN, _REASON),
        undo="unschedule", preview=_means("change"),
    ),
    Action(
        "cancel", "Cancel the subscription", "POST", "/v1/subscriptions/{id}/cancel",
        "It ends then, and nothing may be used any more.", "Cancelled.",
        fields=(_WHEN, _REASON), undo="uncancel", preview=_means("cancel"), is_grave=True,
    ),
    Action(
        "uncancel", "Take back the end", "POST", "/v1/subscriptions/{id}/uncancel",
        "It goes on as if it had not been cancelled.", "It goes on.", fields=(_REASON,),
        undo="cancel", preview=_means("uncancel"),
    ),
    Action(
        "pause", "Pause the subscription", "POST", "/v1/subscriptions/{id}/pause",
        "Nothing may be used and no fee is charged until it is resumed.", "Paused.",
        fields=(
            Field("until", "Until", "instant", hint="Empty: until somebody resumes it."),
            _REASON,
        ),
        undo="resume", preview=_means("pause"),
    ),
    Action(
        "resume", "Resume the subscription", "POST", "/v1/subscriptions/{id}/resume",
        "It may be used again at once.", "Resumed.", fields=(_REASON,), undo="pause",
        preview=_means("resume"),
    ),
    Action(
        "unschedule", "Take back what is scheduled", "DELETE",
        "/v1/subscriptions/{id}/scheduled/{at}",
        "The change that was to come does not come.", "The change was taken back.",
    ),
    Action(
        "unblock", "Lift blocks and throttles", "POST", "/v1/customers/{customer}/unblock",
        "What a rule has blocked or slowed down is free at once.", "Lifted.",
        fields=(
            Field("feature", "Of a feature", "choice", options=("METERED",), absent="all"),
            _REASON,
        ),
    ),
    Action(
        "portal", "Open the portal to its people", "POST", "/v1/customers/{customer}/portal",
        "Whoever has the address sees this customer's usage, credits and invoices, and can change "
        "nothing.", "Address made.",
        fields=(Field("ttl_s", "For how long, in seconds", "integer", hint="Empty: for a week."),),
        tells=True,
    ),
    Action(
        "close-portal", "Close the portal", "DELETE", "/v1/customers/{customer}/portal",
        "Every address made so far stops working at once.", "The portal is closed.",
    ),
    Action(
        "resend", "Send a delivery again", "POST", "/v1/deliveries/{id}/resend",
        "It is sent again at once, with the same id, so that its receiver can tell.",
        "It is being sent again.", "admin", back="/notices",
    ),
    Action(
        "resend-failed", "Send again what failed", "POST", "/v1/webhooks/{id}/resend",
        "All deliveries to it that failed are sent again at once, with the same ids.",
        "They are being sent again.", "admin", back="/notices", tells=True,
    ),
    Action(
        "test-webhook", "Send a test", "POST", "/v1/webhooks/{id}/test",
        "A signed notice of the type webhook.test is sent at once.", "The test was sent.", "admin",
        back="/notices", tells=True,
    ),
    Action(
        "remove-alert", "Remove an alert", "DELETE", "/v1/alerts/{id}",
        "It tells nobody any more. Notices that were sent stay.", "Alert removed.", "admin",
        back="/notices", is_grave=True,
    ),
    Action(
        "approve", "The rule was right", "POST", "/v1/reviews/{id}/approve",
        "What it has imposed stays.", "Kept.", fields=(_NOTE,), back="/rules",
    ),
    Action(
        "dismiss", "The rule was wrong", "POST", "/v1/reviews/{id}/dismiss",
        "What it has imposed on the customer is lifted at once.", "Lifted.",
        fields=(_NOTE,), back="/rules",
    ),
    Action(
        "replay", "Try dead letters again", "POST", "/v1/dead-letters/replay",
        "Each is decided anew, by the rules and the catalogue of now. What is refused again stays.",
        "They were tried again.", back="/dead-letters", tells=True,
    ),
)  # fmt: skip
ACTIONS: Final = {action.key: action for action in (*_ALL, *BILL_ACTIONS)}


def address(action: str, /, **values: Any) -> str:
    """Where the form of an action is, with what is known filled in."""
    given = {name: str(value) for name, value in values.items() if value not in (None, "")}
    return f"/do/{action}?{urlencode(given)}"


def undo_address(did: str, known: Mapping[str, str]) -> str | None:
    """Where what was just done can be taken back."""
    action = ACTIONS.get(did)
    if action is None or action.undo is None:
        return None
    back = ACTIONS[action.undo]
    values = {name: known.get(name, "") for name in variables(back.path, back.back)}
    return address(back.key, **values) if all(values.values()) else None
