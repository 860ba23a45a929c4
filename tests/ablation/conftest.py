import pytest
import yaml

from segkd.ablation.plan import grid_parser, read_grid
from segkd.ablation.resolve import Place, resolve
from tests.conftest import TINY

SMALL = {
    "data.embedded.train": 8,
    "data.embedded.val": 3,
    "data.embedded.test": 3,
    "data.embedded.side": 32,
    "data.size": 32,
    "data.batch_size": 4,
    "data.workers": 0,
    "model.encoder": TINY,
    "model.weights": None,
    "model.width": 16,
    "engine.epochs": 2,
    "engine.log_every": 1,
}
"""Settings of a training of four steps."""


@pytest.fixture
def grid_file(tmp_path):
    """A function that writes a grid of the embedded data set: (changed or added root keys) -> path."""

    def write(name="grid.yaml", **keys):
        content = {
            "base": {"layers": ["quickstart.yaml"], "set": SMALL},
            "arms": {"plain": {}, "narrow": {"set": {"model.width": 8}}},
            "datasets": {"embedded": {}},
            "seeds": [0, 1],
        } | keys
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


@pytest.fixture
def resolved(grid_file, tmp_path):
    """A function that writes and resolves a grid: (root keys) -> (grid, cells)."""

    def resolve_it(data_root=None, **keys):
        _, grid = read_grid(grid_parser(), ["--config", str(grid_file(**keys))])
        return grid, resolve(grid, Place(tmp_path, 1, data_root))

    return resolve_it
