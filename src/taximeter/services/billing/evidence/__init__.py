"""Which events are behind a line, what each cost, and that it is so."""
