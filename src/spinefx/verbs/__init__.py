"""The shell's verbs as functions: they return values and print nothing."""
