"""Reader studies: design, order of cases, sealed log, sessions, export and feedback."""
