"""The deformable refinement of a gland after the rigid fit of an MR to a US, made from what can be trusted there."""
