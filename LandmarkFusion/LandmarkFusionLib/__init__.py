"""The panel of Landmark Fusion: everything that touches Qt."""
