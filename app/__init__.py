"""Millrace: the producer side. HTTP API, ledger, dispatcher. It never imports `workers`."""
