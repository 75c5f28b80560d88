"""
Decoding and identifying events, step by step: `python -m benchmarks.decoding`.

A body of 1,000 events of 221 bytes, and a body of one. Nanoseconds of CPU per event, best of five.
Bodies repeat, so caches are warm; `python -m benchmarks` measures the whole server with fresh ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal

import jiter
import msgspec

from taximeter.events.acceptance import resolve_times
from taximeter.events.decode import decode
from taximeter.events.envelope import Event, Format
from taximeter.events.identity import identities
from taximeter.events.scan import scan
from taximeter.instants import parse_instant

EVENTS = 1000
NOW = parse_instant("2026-11-20T10:00:01Z")


def main() -> None:
    items = [event(number) for number in range(EVENTS)]
    body, lines, one = b"[%b]" % b",".join(items), b"\n".join(items), items[0]
    extended = body.replace(b'"source"', b'"traceparent":"00-1","source"')
    decimals = body.replace(b'"model"', b'"cost":0.0125,"model"')
    nested = body.replace(b'"model"', b'"tags":["a"],"model"')
    events = decode(body, Format.ARRAY).events
    times = [parse_instant(e.time) for e in events if e.time]
    typed = msgspec.json.Decoder(list[Event], float_hook=Decimal)
    report("count over the raw bytes", lambda: scan(body))
    report("typed decode without any proof (msgspec)", lambda: typed.decode(body))
    report("**decode, array**", lambda: decode(body, Format.ARRAY))
    report("**decode, NDJSON**", lambda: decode(lines, Format.LINES))
    report("decode, one decimal number each", lambda: decode(decimals, Format.ARRAY))
    report("decode, one nested list each", lambda: decode(nested, Format.ARRAY))
    report("decode, an extension attribute each (careful)", lambda: decode(extended, Format.ARRAY))
    report("**decode, one event in a body**", lambda: decode(one, Format.OBJECT), events=1)
    report("only find repeated members (jiter)", lambda: strict_parse(body))
    report("only parse (json, Decimal)", lambda: json.loads(body, parse_float=Decimal))
    report("**resolve times and hold the window**", lambda: resolve_times(events, NOW))
    report("**key and fingerprint**", lambda: identities(7, events, times))
    report("key and fingerprint, one event", lambda: identities(7, events[:1], times[:1]), events=1)


def event(number: int) -> bytes:
    return (
        b'{"specversion":"1.0","id":"req_%012x","source":"api","type":"llm.request",'
        b'"subject":"cust_%05d","time":"2026-11-20T10:00:00.%06dZ","data":{"model":"opus",'
        b'"region":"eu-west-1","input_tokens":%d,"output_tokens":%d}}'
    ) % (number * 0x9E3779B97F % 2**48, number % 10_000, number, number % 5000, number % 700)


def strict_parse(body: bytes) -> object:
    return jiter.from_json(body, catch_duplicate_keys=True, float_mode="decimal")


def report(name: str, run: Callable[[], object], *, events: int = EVENTS) -> None:
    run()
    rounds = 50 if events > 1 else 5000
    best = float("inf")
    for _ in range(5):
        started = time.thread_time()
        for _ in range(rounds):
            run()
        best = min(best, (time.thread_time() - started) / rounds / events)
    print(f"| {name} | {best * 1e9:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
