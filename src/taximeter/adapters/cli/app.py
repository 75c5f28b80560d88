"""
The table of commands. Each is imported when it is called, so `--help` stays quick.
"""

from __future__ import annotations

from typing import Final

from cyclopts import App, Group, Parameter

from taximeter import __version__

SERVER: Final = Group("Run", sort_key=1)
CATALOG: Final = Group("Configure", sort_key=2)
EVENTS: Final = Group("Events and usage", sort_key=3)
GATE: Final = Group("The gate", sort_key=4)
MONEY: Final = Group("Invoices", sort_key=5)
CARE: Final = Group("Look after", sort_key=6)

_HERE: Final = "taximeter.adapters.cli"

# name, where, group, one line of help
_COMMANDS: Final = (
    ("serve", f"{_HERE}.node:serve", SERVER, "Run one embedded node."),
    ("demo", f"{_HERE}.node:demo", SERVER, "A living sample company to look at."),
    ("apply", f"{_HERE}.catalog:apply", CATALOG, "Show what a catalogue file changes, and do it."),
    ("diff", f"{_HERE}.catalog:diff", CATALOG, "Show what a catalogue file would change."),
    (
        "subscriptions", f"{_HERE}.subscriptions:app", CATALOG,
        "What customers are subscribed to, and to change it.",
    ),
    ("keys", f"{_HERE}.keys:app", CATALOG, "List, create and revoke API keys."),
    ("alerts", f"{_HERE}.notices:alerts", CATALOG, "What is watched, and where the lines are."),
    ("webhooks", f"{_HERE}.notices:webhooks", CATALOG, "Who is sent notices, and how it went."),
    ("rules", f"{_HERE}.rules:rules", CATALOG, "What rules do, would do, and want reviewed."),
    ("ingest", f"{_HERE}.ingest.command:ingest", EVENTS, "Load events from JSONL, CSV or Parquet."),
    ("retract", f"{_HERE}.corrections:retract", EVENTS, "Take an event back."),
    ("amend", f"{_HERE}.corrections:amend", EVENTS, "Give an event other data."),
    (
        "corrections", f"{_HERE}.corrections:corrections", EVENTS,
        "Events taken back or given other data, many at once.",
    ),
    (
        "backfill", f"{_HERE}.corrections:backfill", EVENTS,
        "History imported as a whole, looked at before it counts.",
    ),
    ("tail", f"{_HERE}.tail:tail", EVENTS, "Follow events as they are decided."),
    ("usage", f"{_HERE}.usage:usage", EVENTS, "Usage of a meter over time."),
    ("check", f"{_HERE}.gate:check", GATE, "May this customer use this feature now?"),
    ("estimate", f"{_HERE}.gate:estimate", GATE, "What it would cost, without doing it."),
    ("entitlements", f"{_HERE}.gate:entitlements", GATE, "All a customer may use, and has used."),
    ("reserve", f"{_HERE}.gate:reserve", GATE, "Hold an amount until it is settled."),
    ("settle", f"{_HERE}.gate:settle", GATE, "Book what was used of a reservation."),
    ("release", f"{_HERE}.gate:release", GATE, "Give back what a reservation holds."),
    ("grant", f"{_HERE}.credits:grant", GATE, "Give a customer credit."),
    ("balance", f"{_HERE}.credits:balance", GATE, "What is left of a customer's credits."),
    ("ledger", f"{_HERE}.credits:ledger", GATE, "Every change of its credits, with its cause."),
    ("budget", f"{_HERE}.budgets:budget", GATE, "Bounds of a team, a user, a credit."),
    ("seats", f"{_HERE}.budgets:seats", GATE, "Who has a seat of a feature."),
    ("portal", f"{_HERE}.portal:portal", GATE, "A page of a customer for its own people."),
    ("billing", f"{_HERE}.billing:app", MONEY, "How invoices are made, and who owes which tax."),
    ("coupons", f"{_HERE}.coupons:coupons", MONEY, "Discounts that customers can redeem."),
    ("discounts", f"{_HERE}.coupons:discounts", MONEY, "What is taken off a customer's invoices."),
    ("invoices", f"{_HERE}.documents:app", MONEY, "List invoices, show one, save it as a file."),
    ("close", f"{_HERE}.invoices:close", MONEY, "Close every period that is due."),
    ("late-usage", f"{_HERE}.late:late_usage", MONEY, "Usage that came after it was billed."),
    ("rerate", f"{_HERE}.late:rerate", MONEY, "What billed periods would come to now."),
    ("correct", f"{_HERE}.credit_notes:correct", MONEY, "Correct an issued invoice now."),
    (
        "credit-note", f"{_HERE}.credit_notes:credit_note", MONEY,
        "Parts of issued invoices taken back.",
    ),
    ("payments", f"{_HERE}.payments:payments", MONEY, "Money received, and what it pays."),
    ("aging", f"{_HERE}.accounting:aging", MONEY, "What is open, and how long it is overdue."),
    ("statement", f"{_HERE}.accounting:statement", MONEY, "A customer's account."),
    ("journal", f"{_HERE}.accounting:journal", MONEY, "Every entry of the accounts."),
    ("trial-balance", f"{_HERE}.accounting:trial_balance", MONEY, "What stands on each account."),
    ("recognition", f"{_HERE}.accounting:recognition", MONEY, "Revenue by month."),
    ("close-month", f"{_HERE}.accounting:close_month", MONEY, "Close a month of the books."),
    ("backtest", f"{_HERE}.pricing:backtest", MONEY, "Try a catalogue on the usage of the past."),
    ("simulate", f"{_HERE}.pricing:simulate", MONEY, "The invoices of periods to come."),
    ("rollouts", f"{_HERE}.rollouts:rollouts", MONEY, "A version of prices for some before all."),
    ("costs", f"{_HERE}.pricing:costs", MONEY, "What usage costs you, for margins."),
    ("explain", f"{_HERE}.explain:explain", MONEY, "Why an amount is what it is."),
    (
        "reconcile", f"{_HERE}.reconcile:reconcile", CARE,
        "Compare every stage with the one before it.",
    ),
    ("export", f"{_HERE}.export:export", CARE, "Save everything as plain files with digests."),
    ("replay", f"{_HERE}.replay:replay", CARE, "Work everything out again, and compare."),
    ("doctor", f"{_HERE}.doctor:doctor", CARE, "Check a server, or a data directory offline."),
    ("bench", f"{_HERE}.node:bench", CARE, "Measure this machine."),
)  # fmt: skip

app = App(
    name="taximeter",
    help="Usage metering and billing: every unit counted once, every amount explained.",
    version=__version__,
    # `--json`, and no `--no-json` beside it.
    default_parameter=Parameter(negative=()),
)
for _name, _where, _group, _help in _COMMANDS:
    app.command(_where, name=_name, group=_group, help=_help)
