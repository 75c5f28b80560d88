"""
The pages people look at: operator console, customers, invoices, API reference.

Everything here turns values into text for a browser; it knows nothing of HTTP. `board` computes
what all viewers of a namespace share, once a tick and only while somebody watches. `rendering`
holds the one template environment: autoescaped, so that no name, subject or payload is ever markup.
"""
