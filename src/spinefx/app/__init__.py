"""The door in the browser: annotate, read, decide, teach. One local page, offline."""
