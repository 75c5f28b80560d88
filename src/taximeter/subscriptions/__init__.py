"""
Subscriptions: one timeline, from which everything about them at an instant follows.

    timeline   a subscription -> its billing periods; trial ends and new cadences start anew (K3)
    standing   what holds at one instant: status, stretches of a period, the next boundary
    changes    change, pause, resume, cancel, add-ons: a subscription -> the next revision
    terms      lengths such as "P3M", and phases -> segments
"""
