"""`taximeter ingest`: bulk load, from a file's rows to a server's receipts."""
