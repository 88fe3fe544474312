"""`python -m introspect`."""

import sys

from introspect.cli import main

if __name__ == "__main__":
    sys.exit(main())
