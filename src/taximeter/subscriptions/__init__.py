"""
Subscriptions: one timeline, from which everything about them at an instant follows.

    timeline   a subscription -> its billing periods; trial ends and new cadences start anew (K3)
    standing   what holds at one instant, of one subscription or of all a customer has
    changes    change, pause, resume, cancel, add-ons: a subscription -> the next revision
    phases     a course agreed on at the beginning: lengths such as "P3M"
    terms      a segment -> plan, add-ons and overrides, looked up: what may be used, what is billed
"""
