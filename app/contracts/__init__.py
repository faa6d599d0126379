"""Contracts that live for years: what each version looked like, kept beside the tests and compared with the code."""
