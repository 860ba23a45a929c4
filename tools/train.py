"""`python tools/train.py` is `segkd train`."""

import sys

from segkd.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
