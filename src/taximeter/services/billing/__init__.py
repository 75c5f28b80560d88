"""
What is due: the running fare, invoices, and the proof of both.
"""
