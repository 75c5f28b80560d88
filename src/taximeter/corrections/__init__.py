"""Corrections of events: nothing is edited or deleted, one more fact says what was wrong."""
