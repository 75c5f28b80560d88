"""From a draft to its end: number, prepaid credit, what is shown and told of it."""
