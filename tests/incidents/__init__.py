"""Ten incidents and more, made on purpose: which alert fires, after how long, and that its runbook ends it."""
