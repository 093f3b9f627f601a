"""`python -m rodflow.cli` is the command `rodflow`, also where that is not in PATH."""

import sys

from rodflow.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
