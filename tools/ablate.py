"""`python tools/ablate.py` is `segkd ablate`."""

import sys

from segkd.cli import main

sys.exit(main(["ablate", *sys.argv[1:]]))
