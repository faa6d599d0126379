"""What operators do, in one way from the console, the API and the command line: whoever calls, the role is
checked here, and the line in the audit log is written here, in the transaction of what it tells of.
"""
