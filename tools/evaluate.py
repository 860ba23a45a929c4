"""`python tools/evaluate.py` is `segkd evaluate`."""

import sys

from segkd.cli import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
