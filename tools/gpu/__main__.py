"""``python -m tools.gpu``: entry point of tools/gpu-check."""

import sys

from tools.gpu.needs import refusal

if __name__ == "__main__":
    refused = refusal()
    if refused is not None:
        print(f"gpu-check: {refused}", file=sys.stderr)
        sys.exit(2)
    from tools.gpu.command import main

    sys.exit(main())
