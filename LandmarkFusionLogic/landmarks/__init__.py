"""Finding the three landmarks: preprocessing, network, training on simulated cases, detection."""
