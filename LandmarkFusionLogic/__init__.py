"""LandmarkFusion's logic: pure Python, no Qt; Slicer only in the subpackage ``mrml``."""

__version__ = "0.1.0"
NOTICE = "For research use; not a medical device."
