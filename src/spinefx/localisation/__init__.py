"""Where the vertebrae lie and what they are called: found, named, measured, and written for other programs."""
