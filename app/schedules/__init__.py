"""Schedules: jobs by the clock, in the tenant's time zone, once per slot whatever dies."""
