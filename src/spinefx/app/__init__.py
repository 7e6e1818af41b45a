"""The web app: annotate, read, decide, teach. A local server and its pages; nothing is fetched from elsewhere."""
