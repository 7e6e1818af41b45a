"""One module per shell command; each returns values and prints nothing."""
