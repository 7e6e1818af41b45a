"""Room 2: what a patient is in this problem."""
