"""Room 6: the study folder; nobody else knows its file names."""
