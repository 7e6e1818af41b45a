"""Reader studies as they are run: who reads what in which order, sealed answers, and the log that proves it."""
