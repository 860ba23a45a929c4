"""Makes pysod.npz: what PySODMetrics 1.6.2 says of every pair of `pairs.py` and of histograms of real images.

    python -m venv /tmp/pysod && /tmp/pysod/bin/pip install pysodmetrics==1.6.2
    /tmp/pysod/bin/python tests/golden/make_pysod.py [MAPS MASKS]

MAPS and MASKS are folders with PNG files of the same names and sizes; of twelve of them the quadrant histograms and the
scores are kept, no pixel. Without them, the real ones of the existing table stay. Made with numpy 2.3.4.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import cv2
import py_sod_metrics as pysod
from pairs import all_pairs
from py_sod_metrics.fmeasurev2 import BERHandler, DICEHandler, FmeasureV2, IOUHandler

SCALARS = ("f_adaptive", "e_adaptive", "mae", "s_measure", "f_weighted", "iou_fg_image", "dice", "ber")


def judged(levels: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scalars in the order of SCALARS, and the curves F and E at t = 0..255."""
    judges = {"f": pysod.Fmeasure(), "e": pysod.Emeasure(), "mae": pysod.MAE(), "s": pysod.Smeasure(),
              "w": pysod.WeightedFmeasure()}  # fmt: skip
    binary = {"with_dynamic": False, "with_adaptive": False, "with_binary": True}
    many = FmeasureV2({"iou": IOUHandler(**binary), "dice": DICEHandler(**binary), "ber": BERHandler(**binary)})
    for judge in [*judges.values(), many]:
        judge.step(levels, mask)
    f, e, more = judges["f"], judges["e"], many.get_results()
    scalars = [f.adaptive_fms[0], e.adaptive_ems[0], judges["mae"].maes[0], judges["s"].sms[0],
               judges["w"].weighted_fms[0]]  # fmt: skip
    scalars += [float(more[name]["binary"]) for name in ("iou", "dice", "ber")]
    return np.array(scalars, float), np.stack([f.changeable_fms[0], e.changeable_ems[0]])[:, ::-1]


def quadrants(levels: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels by quadrant around the centroid, class and level [4 2 256], and the quadrants' shares of the area."""
    figure = mask > 128
    y, x = np.argwhere(figure).mean(axis=0).round().astype(int) + 1
    found = np.zeros((4, 2, 256), np.int64)
    for n, part in enumerate([np.s_[:y, :x], np.s_[:y, x:], np.s_[y:, :x], np.s_[y:, x:]]):
        np.add.at(found[n], (figure[part].astype(int), levels[part]), 1)
    height, width = mask.shape
    shares = [x * y / mask.size, y * (width - x) / mask.size, (height - y) * x / mask.size]
    return found, np.array([*shares, 1 - shares[0] - shares[1] - shares[2]])


def main() -> None:
    warnings.simplefilter("ignore")
    pairs = all_pairs()
    found = [judged(*pair) for pair in pairs.values()]
    table = {"names": np.array(list(pairs)), "scalars": np.stack([a for a, _ in found])}
    table["curves"] = np.stack([b for _, b in found])
    path = HERE / "pysod.npz"
    if len(sys.argv) == 3:
        maps = sorted(Path(sys.argv[1]).glob("*.png"))
        maps = maps[:: max(1, len(maps) // 12)][:12]
        real = [(cv2.imread(str(p), 0), cv2.imread(str(Path(sys.argv[2]) / p.name), 0)) for p in maps]
        counted, scored = [quadrants(*pair) for pair in real], [judged(*pair) for pair in real]
        table["real_quadrants"] = np.stack([a for a, _ in counted]).astype(np.int32)
        table["real_shares"] = np.stack([b for _, b in counted])
        table["real_scalars"] = np.stack([a for a, _ in scored])
        table["real_curves"] = np.stack([b for _, b in scored])
    elif path.is_file():
        with np.load(path) as old:
            table |= {name: old[name] for name in old.files if name.startswith("real_")}
    np.savez_compressed(path, **table)
    print(f"{path}: {len(pairs)} pairs, {len(table.get('real_scalars', []))} real images, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
