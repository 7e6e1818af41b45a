"""spinefx: benign or malignant vertebral fracture on spine MRI. Research use only, not a medical device."""

__version__ = "0.1.0"
