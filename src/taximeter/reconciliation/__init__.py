"""Reconciliation: the same thing counted twice, and what it means when the two differ."""
