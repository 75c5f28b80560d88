"""
Events on their way in: admitted, sequenced, committed, acknowledged.
"""
