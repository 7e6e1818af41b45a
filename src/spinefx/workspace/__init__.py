"""The workspace: the only place that knows its file names and the columns of its tables."""
