"""Tables: CSV, TSV and XLSX read as people and spreadsheets save them, TSV written as BIDS wants it."""
