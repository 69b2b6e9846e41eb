"""Public image collections, read as they are published."""
