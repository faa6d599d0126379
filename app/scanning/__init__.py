"""The virus scan that stands between an upload and everything that reads it."""
