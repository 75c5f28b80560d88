"""
What the rules of the catalogue found as events passed, and what follows.
"""
