"""DCNN-Match in 3D: a network that finds landmarks and their correspondence in two volumes (Grewal 2023)."""
