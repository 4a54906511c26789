"""``python -m wkdvid``."""

import sys

from wkdvid.cli import main

# Guarded, since every worker process imports this module anew.
if __name__ == "__main__":
    sys.exit(main())
