"""Voxels, and where they lie in the patient."""
