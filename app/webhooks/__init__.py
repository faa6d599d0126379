"""Outgoing webhooks: tenants' endpoints, what they are told, and how each delivery went."""
