"""A patient in this problem: the box, the lesion, its patches, and the readings of them."""
