"""Looks at a deployment and says what to change. It changes nothing."""
