"""Makes the folder `benchmarks` of the source tree importable, which no installation has."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))
