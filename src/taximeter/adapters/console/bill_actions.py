"""
What people can do about the bill from a page.
"""

from __future__ import annotations

from typing import Final

from taximeter.adapters.console.action import Action, Field, Preview

_REASON: Final = Field("reason", "Reason", hint="Kept with the change.")
_WHY: Final = Field("reason", "Reason", required=True, hint="Kept with the change.")
_INVOICE: Final = Preview("/v1/invoices/{id}", "part_about_invoice.html", at_once=True)
_PAYMENT: Final = Preview("/v1/payments/{id}", "part_about_payment.html", at_once=True)
_INVOICES: Final = Field(
    "invoices", "Pays", "invoices",
    hint="Numbers or ids, by commas. Empty: the oldest due are paid first.",
)  # fmt: skip
_ABOUT_LINES: Final = Preview("/v1/invoices/{id}", "part_about_lines.html", at_once=True)
_AT_NOTE: Final = "/credit-notes/{id}"
_AT_INVOICE: Final = "/invoices/{id}"
_AT_PAYMENT: Final = "/payments/{id}"
_AT_CORRECTION: Final = "/corrections/{id}"

BILL_ACTIONS: Final = (
    Action(
        "close", "Close what is due", "POST", "/v1/close",
        "Every period that has ended and has no invoice yet gets a draft. Nothing is issued.",
        "Closed: what was due is among the drafts.",
        fields=(Field("as_of", "Up to", "instant", hint="Empty: up to now."),),
        back="/invoices",
        preview=Preview("/v1/close/preview", "part_preview_close.html", fixed=("as_of",)),
    ),
    Action(
        "issue", "Issue the invoice", "POST", "/v1/invoices/{id}/finalize",
        "It gets its number and never changes again: what is wrong is corrected by later entries.",
        "Issued.", back=_AT_INVOICE, undo="void-invoice", preview=_INVOICE,
    ),
    Action(
        "void-invoice", "Void the invoice", "POST", "/v1/invoices/{id}/void",
        "Nothing is owed on it. The next close bills its periods anew, under another number.",
        "Void.", fields=(_REASON,), back=_AT_INVOICE, preview=_INVOICE, is_grave=True,
    ),
    Action(
        "refresh", "Make the draft again", "POST", "/v1/invoices/{id}/refresh",
        "It takes in the usage that has arrived, and what was corrected, since it was made.",
        "Made again, as of now.", back=_AT_INVOICE, preview=_INVOICE,
    ),
    Action(
        "hold", "Put it in review", "POST", "/v1/invoices/{id}/hold",
        "Nobody issues it before somebody has approved it.", "In review.",
        fields=(_WHY,), back=_AT_INVOICE, undo="approve-invoice", preview=_INVOICE,
    ),
    Action(
        "approve-invoice", "Approve it", "POST", "/v1/invoices/{id}/approve",
        "It is a draft again and can be issued.", "Approved.",
        fields=(Field("note", "Note", hint="Kept with the approval."),),
        back=_AT_INVOICE, undo="hold", preview=_INVOICE,
    ),
    Action(
        "give-up", "Give up what is open", "POST", "/v1/invoices/{id}/uncollectible",
        "What is still open is booked as lost. It can still be paid, by a payment that names it.",
        "Given up.", fields=(_WHY,), back=_AT_INVOICE, preview=_INVOICE, is_grave=True,
    ),
    Action(
        "credit", "Credit the invoice", "POST", "/v1/invoices/{id}/credit-notes",
        "A credit note takes it off the invoice, which stays as it is. It cannot be undone.",
        "Credited.",
        fields=(
            Field("lines", "Of which lines", "lines",
                  hint="line_1=5.00 without its tax, or line_1 for all of it; by commas."),
            Field("amount", "Or an amount with its tax", "quantity",
                  hint="Over all lines. With neither, all that is left of the invoice."),
            Field("reason", "Reason", required=True, hint="The customer reads it."),
        ),
        back=_AT_INVOICE, lands=_AT_NOTE,
        preview=Preview(
            "/v1/invoices/{id}/credit-notes/preview", "part_preview_credit.html", "POST",
            fixed=("lines", "amount", "reason"),
        ),
        is_grave=True,
    ),
    Action(
        "approve-note", "Issue the credit note", "POST", "/v1/credit-notes/{id}/approve",
        "It gets its number and is taken off the invoice. Not by who has asked for it.",
        "Issued.", back=_AT_NOTE,
    ),
    Action(
        "reject-note", "Give up the credit note", "POST", "/v1/credit-notes/{id}/reject",
        "Nothing is taken off the invoice.", "Given up.", fields=(_REASON,), back=_AT_NOTE,
        is_grave=True,
    ),
    Action(
        "correct-invoice", "Correct it now", "POST", "/v1/invoices/{id}/correct",
        "What its periods come to by now, less what was billed: as a draft of adjustments, or as a "
        "credit note for what came out too high. Without it the next invoice has the adjustments.",
        "Corrected: by a draft among the invoices, or by a credit note below.",
        fields=(
            Field("mode", "By", "choice", options=("adjust", "credit_note")), _REASON,
        ),
        back=_AT_INVOICE,
        preview=Preview("/v1/rerate", "part_preview_rerate.html", "POST",
                        asks=(("invoice", "id"),), at_once=True),
    ),
    Action(
        "dispute", "Note a dispute", "POST", "/v1/invoices/{id}/lines/{line}/dispute",
        "The customer disputes this line. Nobody is reminded of it until it is resolved.",
        "Disputed.",
        fields=(Field("line", "Line", required=True, hint="Such as line_1."), _WHY),
        back=_AT_INVOICE, preview=_ABOUT_LINES,
    ),
    Action(
        "resolve", "End the dispute", "POST", "/v1/invoices/{id}/lines/{line}/dispute/resolve",
        "The line stays as it is, or is credited, in part or all of it.", "Resolved.",
        fields=(
            Field("outcome", "Outcome", "choice", options=("rejected", "credited")),
            Field("amount", "Of it", "quantity", hint="If credited. Empty: all of the line."),
            Field("note", "Note", hint="Kept with the decision."),
        ),
        back=_AT_INVOICE, preview=_ABOUT_LINES,
    ),
    Action(
        "release-late", "Bill it with the next invoice", "POST", "/v1/late-usage/{id}/release",
        "The next close adjusts for it.", "Released.", fields=(_REASON,), back="/late-usage",
    ),
    Action(
        "write-off-late", "Never bill it", "POST", "/v1/late-usage/{id}/write-off",
        "It stays counted, and is never billed. What it takes off the bill is given all the same.",
        "Written off.", fields=(_REASON,), back="/late-usage", is_grave=True,
    ),
    Action(
        "pay", "Record a payment", "POST", "/v1/payments",
        "Money that was received pays the invoices named. What is left stays on the account.",
        "Payment recorded.",
        fields=(
            Field("customer", "Customer", required=True),
            Field("amount", "Amount", "quantity", required=True),
            Field("currency", "Currency", required=True, hint="Such as EUR."),
            _INVOICES,
            Field("id", "Id", hint="Of whoever collected it: the same id again changes nothing."),
            Field("at", "Received", "instant", hint="Empty: now."),
            Field("reference", "Reference"),
        ),
        back="/payments", lands=_AT_PAYMENT, undo="reverse",
    ),
    Action(
        "allocate", "Pay invoices with what is left", "POST", "/v1/payments/{id}/allocate",
        "What of it pays no invoice yet pays these.", "Allocated.",
        fields=(_INVOICES,), back=_AT_PAYMENT, preview=_PAYMENT,
    ),
    Action(
        "refund", "Note a refund", "POST", "/v1/payments/{id}/refund",
        "Books that money was paid back which pays no invoice. Paying it back is for you to do.",
        "Refund noted.",
        fields=(Field("amount", "Amount", "quantity", hint="Empty: all that is left."), _REASON),
        back=_AT_PAYMENT, preview=_PAYMENT, is_grave=True,
    ),
    Action(
        "reverse", "Undo a payment that bounced", "POST", "/v1/payments/{id}/reverse",
        "The money is not there after all; the invoices it paid are open again.",
        "Payment reversed.", fields=(_WHY,), back=_AT_PAYMENT, preview=_PAYMENT, is_grave=True,
    ),
    Action(
        "close-month", "Close a month of the books", "POST", "/v1/accounting/close",
        "What it has earned is recognised, and nothing is dated in it any more, nor in a month "
        "before it.",
        "Month closed.", "admin",
        fields=(Field("month", "Month", required=True, hint="Such as 2026-10."),),
        back="/accounts", is_grave=True,
    ),
    Action(
        "discount", "Give a discount", "POST", "/v1/customers/{customer}/discounts",
        "By a coupon, or with terms of its own: a share, or an amount in each period. It begins "
        "with the period that runs.",
        "Discount given.",
        fields=(
            Field("coupon", "Coupon"),
            Field("percent", "Or percent", "quantity"),
            Field("amount", "Or an amount", "quantity"),
            Field("currency", "Of which currency"),
            Field("duration", "For", "periods", hint="once, forever, or a number of periods."),
            Field("name", "Called", hint="As it stands on the invoice."),
        ),
        undo="end-discount",
    ),
    Action(
        "end-discount", "End a discount", "DELETE", "/v1/customers/{customer}/discounts/{id}",
        "Periods that end from now on are without it, the one that runs too.",
        "Discount ended.", is_grave=True,
    ),
    Action(
        "billing", "Say who is billed", "PUT", "/v1/customers/{customer}",
        "Holds for every invoice that is issued from now on. What was issued stays.",
        "Billing details kept.",
        fields=(
            Field("name", "Name"),
            Field("address", "Address", "rows", hint="Lines of it, by semicolons."),
            Field("postal_code", "Postal code"), Field("city", "City"),
            Field("region", "Region", hint="As in ISO 3166-2, behind the country: NY."),
            Field("country", "Country", hint="Two letters, as in ISO 3166-1: DE."),
            Field("tax_id", "Tax id"), Field("email", "E-mail"),
        ),
        within="billing",
    ),
    Action(
        "backtest", "Try a version on past usage", "POST", "/v1/backtests",
        "What it would have earned from each customer, beside what was earned. Changes nothing.",
        "Tried.", "read",
        fields=(
            Field("version", "Catalogue version", "integer", required=True,
                  hint="Published or staged."),
            Field("last", "On the last", hint="Such as 30d. Empty: 90 days."),
        ),
        back="/rollouts", lands="/backtests/{id}",
    ),
    Action(
        "correct", "Correct events", "POST", "/v1/corrections",
        "Takes back events, or gives them other data, by further facts. Invoices issued before "
        "stay and still verify; the difference is on the next one.",
        "Corrected.",
        fields=(
            Field("action", "What", "choice", options=("retract", "amend")),
            Field("customer", "Of customer"),
            Field("type", "Of type"),
            Field("from", "From", "instant"),
            Field("to", "To", "instant", hint="Events at this instant are not in it."),
            Field("filter", "Where", hint='Such as data.model == "opus".'),
            Field("patch", "New data", "json",
                  hint='To amend: members to set, null to remove, such as {"tokens": 81}.'),
            _WHY,
        ),
        given=("preview",), back="/corrections", lands=_AT_CORRECTION,
        preview=Preview(
            "/v1/corrections/preview", "part_preview_correction.html", "POST",
            fixed=("action", "customer", "type", "from", "to", "filter", "patch"),
        ),
    ),
    Action(
        "retract", "Take an event back", "POST", "/v1/events/retract",
        "It counts no more, everywhere. Invoices issued before stay and still verify.",
        "Taken back.", "ingest",
        fields=(Field("id", "Id", required=True), Field("source", "Source"), _WHY),
        back="/corrections", tells=True,
    ),
    Action(
        "amend", "Give an event other data", "POST", "/v1/events/amend",
        "An event with the new data stands in for it, at the same time.", "Amended.", "ingest",
        fields=(
            Field("id", "Id", required=True), Field("source", "Source"),
            Field("data", "All of its data", "json", required=True, hint='Such as {"tokens": 81}.'),
            _WHY,
        ),
        back="/corrections", tells=True,
    ),
    Action(
        "approve-correction", "Approve a correction", "POST", "/v1/corrections/{id}/approve",
        "It is made at once, as it was previewed. Not by who has asked for it.", "Approved.",
        back=_AT_CORRECTION, undo="revert",
    ),
    Action(
        "reject-correction", "Reject a correction", "POST", "/v1/corrections/{id}/reject",
        "Nothing changes. It can be asked for again.", "Rejected.", fields=(_WHY,),
        back=_AT_CORRECTION,
    ),
    Action(
        "revert", "Undo a correction", "POST", "/v1/corrections/{id}/revert",
        "What was taken back comes back, what was given other data gets its own again.",
        "Undone.", fields=(_WHY,), back=_AT_CORRECTION, is_grave=True,
    ),
    Action(
        "compare", "Compare everything now", "POST", "/v1/reconciliation/run",
        "Every stage is compared with the one before it, for all customers or for one.",
        "Compared.", fields=(Field("customer", "Only customer"),), back="/reconciliation",
    ),
    Action(
        "repair", "Repair a gap", "POST", "/v1/reconciliation/repair",
        "What is downstream is derived again from what is upstream of it, and looked at again.",
        "Repaired.", "admin", given=("gap",), back="/reconciliation",
    ),
    Action(
        "tolerance", "Set the tolerance", "PUT", "/v1/reconciliation/tolerance",
        "A gap up to this share of what is expected does not hold back a close.",
        "Tolerance set.", "admin",
        fields=(
            Field("tolerance", "Tolerance", "quantity", required=True,
                  hint="0.001 lets one in a thousand pass."),
        ),
        back="/reconciliation",
    ),
)  # fmt: skip
