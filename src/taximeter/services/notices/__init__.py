"""
From a number that changed to who wants to know, exactly once.
"""
