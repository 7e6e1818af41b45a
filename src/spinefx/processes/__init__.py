"""Worker processes: one pool for short items, long jobs and readers of hostile files; Ray clusters."""
