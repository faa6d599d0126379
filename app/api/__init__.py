"""The public HTTP API, under `/v1`."""
