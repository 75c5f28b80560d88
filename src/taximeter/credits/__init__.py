"""
Credits: what a customer has paid or been given ahead of usage, and how usage burns it down.

`grant` is the promise and `recurrence` when it comes again; a `lot` is a spendable piece of it; a
`hold` sets pieces aside; the `wallet` is the state machine over all `lots` of one customer and
credit type; `cost` leads from a quantity of usage to an amount of credit.
"""
