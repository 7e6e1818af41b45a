"""Room 4: recipes, networks, training, cross-validation, and the leak audit. The home of torch."""
