"""Odd CSV files, made by code from fixed seeds, each with what a careful person would read in it."""
