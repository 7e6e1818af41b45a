"""A second opinion on one marked vertebra: the calibrated probability, its evidence, and when to withhold it."""
