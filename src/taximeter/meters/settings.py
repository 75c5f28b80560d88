"""
Settings that single aggregations have, beside the members of every meter.

| setting | of | meaning |
|---|---|---|
| percentile | percentile | which one, 0 < p <= 100 |
| precision | unique | `exact`, or `sketch`: an estimate in bounded memory |
| mode | weighted_sum | whether an event sets the level (`set`) or changes it (`delta`) |
| series | weighted_sum | what has a level of its own, for `set` |
| timeout_s | weighted_sum, session, concurrency | after how long silence a level or session ends |
| per | weighted_sum, session | the unit of time of the result |
| stop | session, concurrency | the events that end a session |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from taximeter.errors import Rejected
from taximeter.meters.filters import parse_filter
from taximeter.meters.kinds import OVER_TIME, SESSIONS, Aggregation, Mode, Per, Precision
from taximeter.meters.paths import MAX_PATH_LENGTH, path_problem
from taximeter.meters.reading import Fields, kind_of
from taximeter.quantities import E12, exact_pico, format_quantity

if TYPE_CHECKING:
    from taximeter.meters.definition import Meter

MAX_TIMEOUT_S: Final = 31 * 86_400

SETTINGS: Final[dict[str, tuple[Aggregation, ...]]] = {
    "percentile": (Aggregation.PERCENTILE,),
    "precision": (Aggregation.UNIQUE,),
    "mode": (Aggregation.WEIGHTED_SUM,),
    "series": (Aggregation.WEIGHTED_SUM,),
    "timeout_s": OVER_TIME,
    "per": (Aggregation.WEIGHTED_SUM, Aggregation.SESSION),
    "stop": SESSIONS,
}
_DEFAULT_PER: Final = {
    Aggregation.WEIGHTED_SUM: Per.HOUR,
    Aggregation.SESSION: Per.SECOND,
}


def read_settings(fields: Fields, aggregation: Aggregation) -> dict[str, Any]:
    for name, owners in SETTINGS.items():
        if name in fields.members and aggregation not in owners:
            fields.problem(name, f"{aggregation} has none; it is a setting of {', '.join(owners)}")
    match aggregation:
        case Aggregation.PERCENTILE:
            return {"percentile_pico": _percentile(fields)}
        case Aggregation.UNIQUE:
            precision = fields.choice("precision", Precision, default=Precision.EXACT)
            return {"precision": Precision.SKETCH if precision == Precision.SKETCH else None}
        case Aggregation.WEIGHTED_SUM:
            return _weighted_settings(fields)
        case Aggregation.SESSION | Aggregation.CONCURRENCY:
            return {
                "per": _per(fields, aggregation) if aggregation is Aggregation.SESSION else None,
                "stop": read_filter(fields, "stop"),
                "timeout_s": _timeout(fields, required=True),
            }
    return {}


def _weighted_settings(fields: Fields) -> dict[str, Any]:
    mode = Mode(fields.choice("mode", Mode, default=Mode.SET) or Mode.SET)
    if mode is Mode.DELTA:
        for name in ("series", "timeout_s"):
            if name in fields.members:
                fields.problem(name, "belongs to mode set; differences add up whatever they are of")
    series = read_text(fields, "series", "a path", MAX_PATH_LENGTH)
    return {
        "mode": mode,
        "series": None if series is None else well_formed(fields, "series", series),
        "per": _per(fields, Aggregation.WEIGHTED_SUM),
        "timeout_s": _timeout(fields, required=False),
    }


def _percentile(fields: Fields) -> int:
    value = fields.members.get("percentile")
    if value is None:
        fields.problem("percentile", "is required: which one, like 95 or 99.9")
        return E12
    pico = exact_pico(value)
    if pico is None or not 0 < pico <= 100 * E12:
        fields.problem(
            "percentile",
            f"expected a decimal above 0, at most 100 and with at most 12 fractional digits, "
            f"found {kind_of(value)}",
        )
        return E12
    return pico


def _per(fields: Fields, aggregation: Aggregation) -> Per:
    default = _DEFAULT_PER[aggregation]
    return Per(fields.choice("per", Per, default=default) or default)


def _timeout(fields: Fields, *, required: bool) -> int | None:
    value = fields.members.get("timeout_s")
    if value is None:
        if required:
            fields.problem(
                "timeout_s", "is required: after how many silent seconds a session has ended"
            )
        return None
    if type(value) is not int or not 1 <= value <= MAX_TIMEOUT_S:
        fields.problem(
            "timeout_s",
            f"expected whole seconds from 1 to {MAX_TIMEOUT_S} (31 days), found {kind_of(value)}",
        )
        return None
    return value


def dump_settings(meter: Meter) -> dict[str, Any]:
    """Without those that have their default."""
    document: dict[str, Any] = {}
    if meter.percentile_pico is not None:
        whole, fraction = divmod(meter.percentile_pico, E12)
        document["percentile"] = format_quantity(meter.percentile_pico) if fraction else whole
    if meter.precision is not None:
        document["precision"] = meter.precision.value
    if meter.mode is not None:
        document["mode"] = meter.mode.value
    if meter.series is not None:
        document["series"] = meter.series
    if meter.timeout_s is not None:
        document["timeout_s"] = meter.timeout_s
    if meter.per is not None:
        document["per"] = meter.per.value
    if meter.stop is not None:
        document["stop"] = meter.stop
    return document


# --- members of several kinds -----------------------------------------------------------------


def read_filter(fields: Fields, name: str) -> str | None:
    text = fields.members.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        fields.problem(name, f"expected a filter expression, found {kind_of(text)}")
        return None
    try:
        parse_filter(text)
    except Rejected as error:
        fields.problem(name, error.message)
    return text


def read_text(fields: Fields, name: str, what: str, longest: int) -> str | None:
    """A text, or None if it is absent or noted as wrong."""
    text = fields.members.get(name)
    if text is None:
        return None
    if not isinstance(text, str) or not 1 <= len(text) <= longest:
        fields.problem(name, f"expected {what}, found {kind_of(text)}")
        return None
    return text


def well_formed(fields: Fields, name: str, path: str) -> str | None:
    problem = path_problem(path)
    if problem is None:
        return path
    fields.problem(name, problem)
    return None
