"""The report: sections, figures and tables as HTML, Word and LaTeX."""
