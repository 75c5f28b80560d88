"""Usage events: the envelope, its identity, and what is decided about each one."""
