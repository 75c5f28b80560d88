"""Ids that the node gives."""

from __future__ import annotations

import secrets


def new_id(prefix: str) -> str:
    """An id nobody can guess: 96 random bits."""
    return f"{prefix}_{secrets.token_hex(12)}"
