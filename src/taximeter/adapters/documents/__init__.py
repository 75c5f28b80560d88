"""Documents as files: the layouts of a page, and the processes that make PDF and Parquet."""
