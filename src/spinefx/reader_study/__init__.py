"""Reader studies: design, case order, sealed log, sessions, export and feedback."""
