"""``python -m LandmarkFusionLogic.cli``."""

import sys

from LandmarkFusionLogic.cli import main

if __name__ == "__main__":
    sys.exit(main())
