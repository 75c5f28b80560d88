"""
Notices: telling people and programs what happened, while it happens, each thing once.
"""
