"""
What customers may do, hold and spend: decided, recorded and answered in one step.
"""
