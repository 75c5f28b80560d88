"""
Rules as events pass: whether one fires, decided from the event, what came before it, and nothing
else.
"""
