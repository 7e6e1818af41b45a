"""Estimates and tests: numbers in, numbers out."""
