"""The ledger: what has to be done, by when, how often it was tried, and how it ended.

It knows no concrete job. Everything here joins the caller's transaction and commits nothing.
"""
