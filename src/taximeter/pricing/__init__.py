"""
Prices before they are sold: what they would have earned, and who gets a new version of them.

    costs       what a unit of a meter costs the seller, from a dated list
    outcome     revenue by one version of the prices and by another, per customer and in total
    profile     usage of the past, taken on into periods to come
    ratio       "10%" and the like, exactly
    cohorts     who is in a rollout: by a stable hash, by name, by what is known of a customer
"""
