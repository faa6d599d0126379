"""What the dispatcher does beside dispatching: it looks after the ledger, the dead letters and the store.

None of it runs on the queues that it looks after.
"""
