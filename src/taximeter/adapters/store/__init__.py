"""The embedded event store: Parquet files queried by DuckDB, in a process of its own."""
