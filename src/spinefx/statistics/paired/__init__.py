"""Two readers or models compared on the same cases."""
