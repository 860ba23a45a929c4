"""Memory and time of a training on pictures of a phone's size, and on small copies of them.

    python benchmarks/phone.py [--images 100] [--height 3000] [--width 4000] [--epochs 4]

Each training is a process of its own, one thread: `segkd train` with the default encoder at 96 x 128. Seconds are CPU
time, memory is the largest that was resident. `--data.cache_gb 0` decodes every picture anew in every epoch.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

SMALL = 512
"""Longer side of the small copies."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=100, help="pictures")
    parser.add_argument("--height", type=int, default=3000, help="of a picture")
    parser.add_argument("--width", type=int, default=4000, help="of a picture")
    parser.add_argument("--epochs", type=int, default=4, help="of each training")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        scale = SMALL / max(options.height, options.width)
        for number in range(options.images):
            image, mask = drawn(number, options.height, options.width)
            save(place / "large", number, image, mask)
            small = (round(options.width * scale), round(options.height * scale))
            save(
                place / "small",
                number,
                cv2.resize(image, small, interpolation=cv2.INTER_AREA),
                cv2.resize(mask, small, interpolation=cv2.INTER_NEAREST),
            )
        for name, root, more in (
            (f"{options.width} x {options.height}", "large", []),
            ("the same, not kept in memory", "large", ["--data.cache_gb", "0"]),
            (f"copies of {SMALL} pixels", "small", []),
        ):
            seconds, megabytes = trained(place / root, place / f"run{name}", options.epochs, more)
            print(f"{name:<30} {seconds:7.0f} s of CPU {megabytes:7.0f} MB", flush=True)


def drawn(number: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture with detail at several scales, and a mask 0/255 of a bright disc."""
    draw = np.random.default_rng(number)
    image = np.zeros((height, width, 3), np.uint8)
    for parts in (12, 300, 1500):
        noise = draw.integers(0, 70, (parts * 3 // 4, parts, 3), np.uint8)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    mask = np.zeros((height, width), np.uint8)
    centre = int(draw.uniform(0.3, 0.7) * width), int(draw.uniform(0.3, 0.7) * height)
    cv2.circle(mask, centre, height // 5, 255, -1)
    image[mask > 0] = np.minimum(image[mask > 0], 175) + 80
    return image, mask


def save(root: Path, number: int, image: np.ndarray, mask: np.ndarray) -> None:
    """A JPEG of a phone's quality and a PNG."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / "images" / f"{number:04d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    cv2.imwrite(str(root / "masks" / f"{number:04d}.png"), mask)


def trained(root: Path, run: Path, epochs: int, more: list[str]) -> tuple[float, float]:
    """CPU seconds of a training, and the largest memory (MB) that its process held."""
    command = [sys.executable, "-m", "segkd.cli", "train", "--data.root", str(root), "--out", str(run)]
    command += ["--config", "methods/virtual_teacher.yaml", "--data.size", "[96, 128]", "--data.batch_size", "4"]
    command += [
        "--engine.epochs",
        str(epochs),
        "--engine.threads",
        "1",
        "--data.workers",
        "0",
        "--model.weights",
        "null",
    ]
    process = subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the training in {run} ended with {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
