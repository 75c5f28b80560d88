"""
Credits: what a customer has paid or been given ahead of usage, and how usage burns it down.

`grant` is the promise, `lot` a spendable piece of it, `wallet` the state machine over all lots of
one customer and credit type, `cost` the way from a quantity of usage to an amount of credit.
"""
