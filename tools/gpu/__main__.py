"""``python -m tools.gpu``: what tools/gpu-check starts."""

import sys

from tools.gpu.command import main

sys.exit(main())
