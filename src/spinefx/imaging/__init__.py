"""Room 1: voxels, and where they lie in the patient."""
