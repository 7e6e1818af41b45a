"""Processes: one pool for many short items, long jobs that report as they go, and a Ray cluster."""
