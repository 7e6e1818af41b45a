"""Room 5: tables in, tables out."""
