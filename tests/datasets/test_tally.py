from pathlib import Path

import numpy as np

from segkd.datasets.tally import kind_of, tally_of, told

MASK = np.zeros((10, 10), np.uint8)
MASK[:3] = 128


def test_a_file_is_counted_by_its_kind_of_number():
    one = tally_of(Path("a.png"), MASK)
    assert (one.kind, one.size, one.low, one.high, one.few) == ("8 bit", (10, 10), 0, 128, [0, 128])
    assert one.counts.tolist() == [70, 30] and one.ends == 0.7
    wide = tally_of(Path("b.npy"), MASK.astype(np.int64) * 300)
    assert wide.kind == "whole numbers" and wide.few == [0, 38400]
    soft = tally_of(Path("c.npy"), MASK / np.float32(255))
    assert soft.kind == "real numbers" and soft.few is None and 0.5 < soft.high < 0.51
    assert tally_of(Path("d.npy"), MASK.astype(np.float16)).few == [0, 128], "whole, whatever the type"
    assert kind_of(MASK > 0) == "true and false" and kind_of(np.zeros((3, 2, 2))) == "scores"
    deep = np.arange(400, dtype=np.uint16).reshape(20, 20)
    assert tally_of(Path("e.png"), deep).few is None and len(tally_of(Path("e.png"), deep, most=65536).few) == 400


def test_a_folder_is_told_in_one_line():
    masks = [tally_of(Path("a.png"), MASK), tally_of(Path("b.png"), MASK * 0)]
    assert told(masks) == "2 files, 8 bit, values 0 (85.0 %), 128 (15.0 %)"
    grey = tally_of(Path("a.png"), np.arange(200, dtype=np.uint8).reshape(10, 20))
    real = tally_of(Path("b.npy"), np.linspace(0, 1, 100).reshape(10, 10))
    assert (
        told([grey, real]) == "2 files, 8 bit, 200 values 0..199, 0 % at the ends; real numbers, 0..1, 2 % at the ends"
    )
