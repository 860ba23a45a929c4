"""A grid on a ray cluster of two nodes, both on this machine: `make cluster`, about a minute.

Each node has one CPU and each cell takes one, so cells that run at once are on different nodes. The scores must be
those of a grid without ray.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRID = """
base:
  layers: [quickstart.yaml]
  set: {data.embedded.train: 16, data.embedded.val: 3, data.embedded.test: 3, data.embedded.side: 32, data.size: 32,
        data.batch_size: 4, data.workers: 0, model.encoder: test_efficientnet, model.weights: null, model.width: 16,
        engine.epochs: 3}
arms: {plain: {}, wide: {set: {model.width: 32}}}
datasets: {embedded: {}}
seeds: [0]
"""


def main() -> None:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "grid.yaml").write_text(GRID)
        grid = start(place, "RAY", RAY_ADDRESS=cluster.address, engine="ray")
        together = False
        while grid.poll() is None:
            together |= ray.available_resources().get("CPU", 0) == 0
            time.sleep(0.1)
        ray.shutdown()
        cluster.shutdown()
        alone = start(place, "ALONE", engine="local")
        if grid.wait() or alone.wait():
            sys.exit("a grid failed; its words are above")
        scores, others = (table(place / name / "cells.csv") for name in ("RAY", "ALONE"))
    if len(nodes) != 2 or not together or scores != others or len(scores) != 4:
        sys.exit(
            f"expected two nodes at work at once and equal scores, found {len(nodes)}, {together}: {scores} {others}"
        )
    print(f"{len(scores)} rows of a grid on {len(nodes)} nodes, both at work at once, are those of a grid without ray")


def start(place: Path, out: str, engine: str, **environment: str) -> subprocess.Popen:
    """`segkd ablate` at work."""
    command = [sys.executable, "-m", "segkd.cli", "ablate", "--config", "grid.yaml", "--out", out, "--engine", engine]
    more = ["--processes", "2", "--threads", "1"]
    return subprocess.Popen([*command, *more], cwd=place, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)


def table(path: Path) -> dict[tuple[str, str], str]:
    """The score of each arm and split."""
    with path.open() as file:
        return {(row["arm"], row["split"]): row["miou_image"] for row in csv.DictReader(file)}


if __name__ == "__main__":
    main()
