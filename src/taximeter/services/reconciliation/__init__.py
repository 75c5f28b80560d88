"""Reconciliation: every stage of the chain against the one before it, all the time."""
