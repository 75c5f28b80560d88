"""
Subscriptions made, changed, previewed and brought to new plan versions.
"""
