"""Fuzzing the reader of tables: `make fuzz SECONDS=3600`, or `python -m tests.fuzz FILE` to replay."""
