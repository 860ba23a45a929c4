"""Damage: to the bytes of any file, and to the values of a JSON, JSONL, YAML or CSV file."""

import csv
import io
import json
import math
import random
from collections.abc import Callable
from typing import Any

import yaml

WILD: tuple[Any, ...] = (
    None, True, False, "", "x", "-1", "[/b]", "../../etc/passwd", "nan", -1, 0, 2, 3.5, -5.0, 1e20, 1e308, -0.0,
    math.nan, math.inf, 10**30, [], {}, [[]], [None], {"": 0}, [0] * 9, "y" * 5000, "\ud800", "\x00",
)  # fmt: skip
"""Values of other kinds, sizes and signs."""


def flip(data: bytes, draw: random.Random) -> bytes:
    """One to eight bits turned over."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(data: bytes, draw: random.Random) -> bytes:
    """The end is missing."""
    return data[: draw.randrange(len(data))]


def delete(data: bytes, draw: random.Random) -> bytes:
    """A piece is missing."""
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.choice((1, 2, 16, 500)) :]


def double(data: bytes, draw: random.Random) -> bytes:
    """A piece stands twice."""
    start = draw.randrange(len(data))
    end = start + draw.choice((1, 8, 200))
    return data[:end] + data[start:]


def insert(data: bytes, draw: random.Random) -> bytes:
    """Foreign bytes in between."""
    start = draw.randrange(len(data) + 1)
    return data[:start] + draw.randbytes(draw.choice((1, 4, 64))) + data[start:]


def zero(data: bytes, draw: random.Random) -> bytes:
    """A piece is zeros, as after a power cut."""
    start = draw.randrange(len(data))
    piece = data[start : start + draw.choice((1, 16, 4096))]
    return data[:start] + bytes(len(piece)) + data[start + len(piece) :]


def replace(_: bytes, draw: random.Random) -> bytes:
    """Something else altogether."""
    return draw.choice(
        (b"", b"\n", b"null\n", b"[]", b"5", b'"x"', b"{}", b"\xff\xfe\x00", b"PK\x03\x04", b"\x80\x04.")
    )


BYTES = (flip, flip, cut, delete, double, insert, zero, replace)
"""Byte damages; those that happen more often stand more often."""


def damaged(data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Other bytes than `data`, and what was done."""
    while True:
        how = draw.choice(BYTES) if data else insert
        found = how(data, draw)
        if found != data:
            return found, how.__name__


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    pairs = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    return [(tree, key) for key, _ in pairs] + [place for _, part in pairs for place in _places(part)]


def change(tree: Any, draw: random.Random) -> str:
    """Changes one value of a tree in place: another kind, gone, or under another key; returns what was done."""
    places = _places(tree)
    if not places:
        return "nothing"
    container, key = draw.choice(places)
    how = draw.choice(("wild", "wild", "wild", "gone", "renamed"))
    if how == "wild":
        container[key] = draw.choice(WILD)
        return f"{key} = {str(container[key])[:20]!r}"
    value = container.pop(key)
    if how == "renamed" and isinstance(container, dict):
        container[f"{key}x"] = value
    return f"{key} {how}"


def changed_json(data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """One value of a JSON file is wild."""
    tree = json.loads(data)
    said = change(tree, draw)
    text = json.dumps(tree, indent=2)
    if draw.random() < 0.1:
        text, said = text.replace("0.", "1e999", 1), f"{said}, 1e999"
    return text.encode(), said


def changed_lines(data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """One value of one line of a JSONL file is wild, or a line is gone, doubled, or in another place."""
    lines = data.decode().splitlines()
    n = draw.randrange(len(lines))
    how = draw.choice(("wild", "wild", "gone", "doubled", "moved", "foreign"))
    if how == "wild":
        tree = json.loads(lines[n])
        said = change(tree, draw)
        lines[n] = json.dumps(tree)
        return "".join(f"{line}\n" for line in lines).encode(), f"line {n + 1}: {said}"
    line = lines.pop(n) if how in ("gone", "moved") else lines[n]
    if how == "doubled":
        lines.insert(n, line)
    elif how == "moved":
        lines.insert(draw.randrange(len(lines) + 1), line)
    elif how == "foreign":
        lines.insert(
            n, draw.choice(("null", "[]", "5", "x", "{}", '{"kind": "val"}', '{"step": null, "kind": "train"}'))
        )
    return "".join(f"{line}\n" for line in lines).encode(), f"line {n + 1} {how}"


def changed_yaml(data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """One value of a YAML file is wild."""
    tree = yaml.safe_load(data)
    said = change(tree, draw)
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"), said


def changed_csv(data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """One cell of a CSV file is wild, or a row or a column is gone."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    n = draw.randrange(len(rows))
    cell = draw.randrange(len(rows[n]))
    how = draw.choice(("wild", "wild", "wild", "cell gone", "row gone", "row doubled"))
    if how == "wild":
        rows[n][cell] = draw.choice([str(value) for value in WILD] + ["1e999", "0,5", '"'])
        how = f"cell {cell} = {rows[n][cell][:20]!r}"
    elif how == "cell gone":
        del rows[n][cell]
    elif how == "row gone":
        del rows[n]
    else:
        rows.insert(n, rows[n])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8", "surrogatepass"), f"row {n + 1} {how}"


Change = Callable[[bytes, random.Random], tuple[bytes, str]]

CHANGES: dict[str, Change] = {
    ".json": changed_json,
    ".jsonl": changed_lines,
    ".yaml": changed_yaml,
    ".csv": changed_csv,
}
"""Damages that know the format, by suffix."""


def mutated(name: str, data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Other content for the file `name`, and what was done to it."""
    suffix = "." + name.rpartition(".")[2]
    if suffix in CHANGES and draw.random() < 0.6:
        found, said = CHANGES[suffix](data, draw)
        if found != data:
            return found, said
    return damaged(data, draw)
