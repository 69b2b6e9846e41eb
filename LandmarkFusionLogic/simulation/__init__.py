"""Simulated male pelvises as MR and ultrasound show them, with the truth about their landmarks.

`case.simulate_case` makes a pair at clinical resolution, `case.simulate_image` one image as training wants it.
"""
