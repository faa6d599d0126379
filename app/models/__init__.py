"""Tables. Every one carries its tenant; ids are UUIDv7; times are `timestamptz`.

Nothing is imported here: a mapped class costs a millisecond, there are sixty, and most processes need a few.
`app.models.tables` has them all.
"""
