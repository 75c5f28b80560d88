"""XML as text: elements by name, texts escaped, nothing else. For documents that are written."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr


def element(name: str, *content: str, **attributes: str) -> str:
    """
    Args:
        content: Elements that are written already.
        attributes: "_" in a name stands for ":".
    """
    given = "".join(f" {key.replace('_', ':')}={quoteattr(v)}" for key, v in attributes.items())
    return f"<{name}{given}>{''.join(content)}</{name}>"


def leaf(name: str, text: str | None, **attributes: str) -> str:
    """An element of text, or nothing where there is none: the standards forbid empty ones."""
    return element(name, escape(text), **attributes) if text else ""


def document(root: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}\n'.encode()
