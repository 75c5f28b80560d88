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
    dynamic     the amount stands on the event
    cost_plus   the cost, and a markup
    seats       a fee for each seat: at the peak, by days (K4), by exact time
    daytime     which parts of a period lie in which hours of the day
    ramp        what a price has become by some period
    tariff      a plan's prices in one currency, with the rates that takes
    bounds      at least, and at most
    proration   the share of a fee for a part of a period (K4)
"""

from taximeter.rating.line import RatedLine, rate_line
from taximeter.rating.percentage import Band
from taximeter.rating.proration import Proration
from taximeter.rating.seats import RatedSeats, SeatTime, Steps, rate_seats, seat_time
from taximeter.rating.steps import RatedTier

__all__ = [
    "Band",
    "Proration",
    "RatedLine",
    "RatedSeats",
    "RatedTier",
    "SeatTime",
    "Steps",
    "rate_line",
    "rate_seats",
    "seat_time",
]
