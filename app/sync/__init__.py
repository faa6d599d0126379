"""Keep a tenant's contacts in step with another system: pull by cursor, merge, push, never twice."""
