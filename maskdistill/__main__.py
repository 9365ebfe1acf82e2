"""``python -m maskdistill``."""

import sys

from maskdistill.cli.main import main

if __name__ == "__main__":  # worker processes import this module again and must not start over
    sys.exit(main())
