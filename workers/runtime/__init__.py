"""What every handler runs in: claim, context, outcome, settle, acknowledge."""
