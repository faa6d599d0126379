"""The operators' console: pages for a browser, which talk to the same API as everyone else."""
