"""Room 3: synthetic spines with known truth."""
