"""
Rating: quantity x price = line, exact; nothing is rounded here. One module a price model.

    line       what is common to all: billable quantity, free units, minimum, maximum
    per_unit   the same price for every unit
    graduated  each unit at the price of its tier (K8)
    proration  the share of a fee for a part of a period (K4)
"""

from taximeter.rating.line import RatedLine, rate_line
from taximeter.rating.proration import Proration
from taximeter.rating.steps import RatedTier

__all__ = ["Proration", "RatedLine", "RatedTier", "rate_line"]
