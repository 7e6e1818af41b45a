"""Check printed statistics against the counts printed beside them."""
