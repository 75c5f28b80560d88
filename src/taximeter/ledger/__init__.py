"""
The ledger of credits: double entry, append-only (K19).

`transaction` says what an entry is, `statement` adds entries up, `audit` proves them.
"""
