"""
Clients of language models, with their usage counted.

`usage` reads what an answer says it used and estimates where a stream never said; `counting` counts
one call; `proxy` puts that around the methods of a client. The wrapped call itself is never changed
or broken: whatever goes wrong in counting is logged and counted as nothing.
"""

from taximeter_sdk.wrapping.proxy import wrap

__all__ = ["wrap"]
