"""Deformable registration guided by automatic landmark correspondences: DCNN-Match and elastix (Grewal 2023)."""
