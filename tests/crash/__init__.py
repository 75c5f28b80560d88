"""
Crashes, judged by an oracle outside the server: see docs/internals/crash-testing.md.
"""
