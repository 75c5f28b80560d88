"""
Rating: quantity x price = line, exact; nothing is rounded here. One module a price model.

    line        what is common to all: billable quantity, free units, multipliers, bounds
    transform   from the meter's unit to the unit that is priced
    per_unit    the same price for every unit
    graduated   each unit at the price of its tier (K8)
    volume      all units at the price of one tier (K8)
    stairstep   one fee, that of the tier
    package     packages that are begun (K9)
    percentage  a share of an amount, and a fee for each event
    matrix      a price for each combination of dimensions
    proration   the share of a fee for a part of a period (K4)
"""

from taximeter.rating.line import RatedLine, rate_line
from taximeter.rating.proration import Proration
from taximeter.rating.steps import RatedTier

__all__ = ["Proration", "RatedLine", "RatedTier", "rate_line"]
