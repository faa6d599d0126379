"""Tables as people send them: CSV of every sort and workbooks, found out and read as plain rows.

Pure: bytes in, rows out. `detect.open_table` finds the layout, `records.read_range` reads a part again,
`normalize` writes what was read as plain CSV.
"""
