"""SOPI (Chen 2023): the network that finds a first pose, the networks whose features refine it, and their training.

Where the paper leaves something open, or a CPU can do no better, this is what was chosen:

- The pose network sees the CT sampled along the rays of the detector (`inputs.frustum`), so that its flattened
  features and those of the X-ray have the same place; both images' contrast is evened out first (`inputs.prepare`).
- Poses are drawn with 0.3 of the deviations that the paper names, as the authors' code does, and normalized to the
  box of what the pose network can answer, so that each parameter counts alike in eq. 4.
- Eq. 6 takes the norm over the channels of a place, and the mean over the three embedded features.
- The metric of eq. 7 counts three millimeters of depth as one (`poses.UNITS`): an X-ray hardly shows the depth.
- The two encoders share no weights but begin with the same ones, and the composite ones begin shallow
  (`encoders.quieten`): so the distance of the features is a similarity from the first step on.
- The composite encoders' activation is smooth, since eq. 7 is trained through the network's second derivative.
- At inference the network's gradient gives the direction, and each component has a length of step of its own, which
  shrinks where the direction turns about; the rotation is frozen when its steps have become short.
- The preset "small" trains with Adam and small images; the preset "paper" with the paper's sizes, SGD and rates.
"""
