"""How far detected landmarks are from the truth, on real and on simulated cases, beside the plainest baseline."""
