"""
The ledger on disk: every transaction of every wallet, as a projection of the log.
"""

from taximeter.adapters.ledger.sqlite import SqliteLedger

__all__ = ["SqliteLedger"]
