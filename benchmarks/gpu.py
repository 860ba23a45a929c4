"""What holds and what it costs on a GPU: one command of at most eight minutes.

    make gpu        (or: python -m benchmarks.gpu [--device cpu] [--seconds 450])

Every recipe in float32, bf16 and fp16, and that its step never waits for the device; the frequency stage against a copy
of the image and kornia; whole steps; scores on the CPU and there. Without a GPU all is skipped and counted;
`--device cpu` runs what a CPU can, to try the checks themselves. The exit status is 1 where a check failed; a goal of
speed that is missed is said, no failure.
"""

import argparse
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator

import torch

from benchmarks.gpu_checks import contracts, decoded, scores, stage, steps

Check = Callable[[torch.device], str]


def main() -> int:
    """Runs what there is time for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=450.0, help="no check begins later")
    parser.add_argument("--only", default="", help="checks whose names contain this")
    options = parser.parse_args()
    device, until = torch.device(options.device), time.monotonic() + options.seconds
    here = device.type == "cpu" or torch.cuda.is_available()
    name = torch.cuda.get_device_name() if here and device.type == "cuda" else platform.processor() or "a CPU"
    ran, skipped, failed = 0, [], []
    for title, check in checks():
        if options.only not in title:
            continue
        if not here or time.monotonic() > until:
            skipped.append("no GPU" if not here else "out of time")
            continue
        try:
            print(f"{title}: {check(device)}", flush=True)
        except NotImplementedError as reason:
            skipped.append(str(reason))
            continue
        except Exception:
            failed.append(title)
            print(f"{title}: FAILED\n{traceback.format_exc()}", flush=True)
        ran += 1
    print(f"{ran} checks ran on {name if ran else 'nothing'}, {len(failed)} failed, {len(skipped)} skipped", end="")
    print(f" ({', '.join(sorted(set(skipped)))})" if skipped else "")
    return 1 if failed else 0


def checks() -> Iterator[tuple[str, Check]]:
    """All of them, the cheapest insight first."""
    for module in (scores, stage, contracts, steps, decoded):
        yield from module()


if __name__ == "__main__":
    sys.exit(main())
