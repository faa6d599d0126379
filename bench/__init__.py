"""Paired benchmarks: ours against something real, in turn, in one run. `make bench NAME=import`."""
