"""
Corrections: events taken back and replaced, one by one or by query, and history that is imported.
"""
