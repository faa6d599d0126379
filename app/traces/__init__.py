"""Traces, by OpenTelemetry. `spans` is what others use; the rest is imported only where traces are on."""
