"""
The gate's state: what each customer holds (credits, reservations, budgets, seats), as a fold.

`effects` says what can happen to it, `purse` what one customer has, `state` applies effects in the
order of the log. Nothing here reads a clock or decides whether something may happen: that is
`entitlements`.
"""
