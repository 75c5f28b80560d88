"""
Prices tried out on what was used, given to some before all, and what usage costs.
"""
