"""A small synchronous HTTP client of a Taximeter server, on the standard library."""

from taximeter.adapters.client.client import Client, Reply

__all__ = ["Client", "Reply"]
