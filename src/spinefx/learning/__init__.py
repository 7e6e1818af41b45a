"""Recipes, networks, training, cross-validation, the leak audit and scoring. The home of torch."""
