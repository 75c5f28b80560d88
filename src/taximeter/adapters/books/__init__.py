"""Adapters of `ports.Books`: SQLite for an embedded node."""

from taximeter.adapters.books.sqlite import SqliteBooks

__all__ = ["SqliteBooks"]
