"""`serve`, `demo` and `bench`: commands that run something here instead of asking a server."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taximeter.adapters.cli.common import config_file, notice
from taximeter.adapters.cli.failures import USAGE


def serve(
    *,
    data: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    dev: bool | None = None,
    sandbox: bool | None = None,
    log_level: str | None = None,
    segment_bytes: str | None = None,
    accept_past_s: str | None = None,
    accept_future_s: str | None = None,
    webhook_allow_private: bool | None = None,
    mail_from: str | None = None,
    canary_every_s: str | None = None,
) -> int:
    """
    Run one embedded node until it is stopped.

    The first start prints an owner API key once and keeps it in DATA/owner.key. Each flag can
    also be set as TAXIMETER_<FLAG> or in taximeter.toml.

    Parameters
    ----------
    data
        Directory of everything the node stores. [default: taximeter-data]
    host
        Address to listen on. [default: 127.0.0.1]
    port
        Port to listen on, 0 for any free one. [default: 8080]
    dev
        Need no API key from this machine.
    sandbox
        Let the clock be set through the API.
    log_level
        debug, info, warning or error. [default: info]
    segment_bytes
        Size of one file of the log, such as 256MiB. [default: 256MiB]
    accept_past_s
        How old an event may be, such as 90d. [default: 90d]
    accept_future_s
        How far in the future an event may be, such as 300s. [default: 300s]
    webhook_allow_private
        Let webhooks lead to addresses of this machine and its network, and over plain http.
    mail_from
        Address that mail comes from; TAXIMETER_SMTP_URL says through which server.
    canary_every_s
        How often known usage runs through the whole chain, such as 5m; 0 for never. [default: 0]
    """
    from taximeter.settings import read_settings

    flags = dict(locals())
    flags.pop("read_settings")
    settings = read_settings(flags, os.environ, config_file())

    from taximeter.adapters.node import run

    return run(settings)


def demo(
    *,
    port: int = 8080,
    rate: int = 50,
    once: bool = False,
    json: bool = False,
) -> int:
    """
    A living sample company on a temporary data directory, until Ctrl-C.

    Parameters
    ----------
    port
        Port of the console and API, 0 for any free one.
    rate
        Events a second.
    once
        Feed one fixed, seeded month, print its invoices, and end.
    json
        Print JSON instead of text.
    """
    from taximeter.demo import run_demo

    return run_demo(port=port, rate=rate, once=once, json=json)


def bench(*args: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """
    Measure this machine with the benchmarks of a source checkout.

    Parameters
    ----------
    args
        Handed to the benchmarks; `taximeter bench -- --help` lists them.
    """
    if find_spec("benchmarks") is None or find_spec("benchmarks.__main__") is None:
        notice(
            "The benchmarks are not part of the installed package. Get them with\n"
            "  git clone https://github.com/taximeter/taximeter && cd taximeter && make bench"
        )
        return USAGE
    import runpy
    import sys

    sys.argv = ["benchmarks", *args]
    try:
        runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else USAGE
    return 0
