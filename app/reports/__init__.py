"""Reports: what a tenant is told about its own work."""
