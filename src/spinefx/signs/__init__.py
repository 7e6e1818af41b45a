"""The fifteen signs from pixels, the diagnosis through the signs, and readers who overrule them."""
