"""Rigid registration of landmarks: closed-form fit, errors, warnings."""
