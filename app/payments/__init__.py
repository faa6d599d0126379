"""Payments: what the provider tells us, recorded as it came, and the subscriptions that follow from it."""
