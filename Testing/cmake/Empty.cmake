# Nothing to do outside a build of Slicer.
