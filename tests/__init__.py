"""The promises, each with a test that fails without it."""
