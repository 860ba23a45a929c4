"""Imported last by the process that others are forked from (tests/warm.py): does once what each of them would do."""

import gc

import tests.warm  # noqa: F401  (and pytest with it: where they begin)
from segkd.ablation.identity import code_digests

code_digests()  # two seconds of `segkd ablate`
gc.set_threshold(20_000, 10, 5)
gc.collect()
gc.freeze()  # as in tests/conftest.py
