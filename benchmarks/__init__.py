"""
Measurements of this product and of what people use instead, on one machine in one run.

`make bench` runs `python -m benchmarks`; `docs/performance.md` says how to read the table.
"""
