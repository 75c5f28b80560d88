"""
The embedded event log: durable, ordered, checked byte by byte.

`SegmentLog` writes it (one process), `LogReader` follows it (any process), `verify` checks it.
The format and its reasons: `docs/decisions/0002-log-format.md`.
"""

from taximeter.adapters.log.reader import LogReader
from taximeter.adapters.log.recovery import verify
from taximeter.adapters.log.segment import SegmentInfo
from taximeter.adapters.log.segment_log import SegmentLog

__all__ = ["LogReader", "SegmentInfo", "SegmentLog", "verify"]
