"""Files are written whole, on the disk when named, and read without being trusted."""

import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field

import pytest

from segkd.disk import (
    LONGEST,
    dump_csv,
    dump_json,
    load_yaml,
    open_to_append,
    part_of,
    read_json,
    read_text,
    write_whole,
)
from segkd.types import InputError, printable
from tests.warm import end_well


def test_a_file_is_whole_or_the_older_one(tmp_path):
    path = tmp_path / "new folder" / "file.txt"
    write_whole(path, "älter\r\n")
    assert path.read_bytes() == "älter\r\n".encode()

    def breaks(file):
        file.write(b"half")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_whole(path, breaks)
    assert path.read_bytes() == "älter\r\n".encode()
    assert os.listdir(path.parent) == ["file.txt"]


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("ä" * 125 + "x.png")
    write_whole(path, b"x")
    assert path.read_bytes() == b"x" and os.listdir(tmp_path) == [path.name]


def test_permissions_are_those_of_any_new_file(tmp_path):
    write_whole(tmp_path / "ours", b"x")
    (tmp_path / "theirs").write_bytes(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_content_is_flushed_before_the_name_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def noted(handle):
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    write_whole(tmp_path / "file", b"x")
    assert calls == ["file", "rename", "folder"]


def test_a_full_disk_is_a_paragraph_that_names_the_file(tmp_path):
    def full(file):
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"file: cannot write there: No space left on device\. Make room"):
        write_whole(tmp_path / "file", full)
    assert not list(tmp_path.iterdir())


@dataclass
class Card:
    name: str
    size: tuple[int, int]
    scores: dict[str, float | None] = field(default_factory=dict)


def test_json_of_the_right_kind(tmp_path):
    (tmp_path / "card.json").write_text(dump_json({"name": "ä", "size": [1, 2], "scores": {"f": None, "g": 0.5}}))
    assert read_json(tmp_path / "card.json", Card, "a card") == Card("ä", (1, 2), {"f": None, "g": 0.5})


@pytest.mark.parametrize(
    "text, said",
    [
        ('{"name": 5, "size": [1, 2]}', "at name"),
        ('{"name": "a", "size": [1, 2, 3]}', "at size"),
        ('{"name": "a", "size": [1, "2"]}', "at size.1"),
        ('{"name": "a"}', "at size"),
        ("null", "found "),
        ("[" * 20000, "found"),
        ("", "found"),
        ('{"name": "a"', "found"),
    ],
)
def test_json_of_another_kind_is_refused_by_name_and_place(tmp_path, text, said):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(InputError, match=r"card\.json: expected a card, found") as error:
        read_json(tmp_path / "card.json", Card, "a card")
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["[NaN]", "[Infinity]", "[1e999]"])
def test_numbers_must_be_finite(tmp_path, text):
    (tmp_path / "numbers.json").write_text(text)
    with pytest.raises(InputError, match="no finite number"):
        read_json(tmp_path / "numbers.json", list[float], "numbers")


def test_no_text_is_a_paragraph(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "fifo")
    for name in ("bytes", "fifo", "absent", "."):
        with pytest.raises(InputError, match="expected a list, found"):
            read_text(tmp_path / name, "a list")


def test_yaml_is_plain_data():
    assert load_yaml("a: [1, 2.5, x]\nb: {c: null}\n", "a layer") == {"a": [1, 2.5, "x"], "b": {"c": None}}
    assert load_yaml("a: &x [1]\nb: *x\n", "a layer") == {"a": [1], "b": [1]}
    assert load_yaml("", "a layer") is None


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    "text, said",
    [
        ("optim: {lr: 0.01}\nseed: 1\noptim: {clip: 2}\n", "'optim' twice in one map, in lines 1 and 3"),
        ("a: {b: 1, b: 2}", "'b' twice"),
        (LAUGHS, "more than"),
        ("[" * 20000, "deep"),
        ("\n".join(" " * i + "a:" for i in range(3000)), "deep"),
        ("a: &a [*a]", "alias"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("!!int ''", "found"),
        ("!!bool x", "found"),
        ("!!timestamp x", "found"),
        ("a: [1", "found"),
        ("x: \x00", "found"),
    ],
)
def test_yaml_that_would_drop_hang_or_run_is_refused(text, said):
    with pytest.raises(InputError, match=r"layer\.yaml: expected a layer, found: ") as error:
        load_yaml(text, "layer.yaml: expected a layer")
    assert said in str(error.value)


def test_text_is_shown_as_any_terminal_can():
    assert printable("ünï 图 [/b] 👩\u200d🚀\n\t") == "ünï 图 [/b] 👩\u200d🚀\n\t"
    assert printable("\x1b]0;pwned\x07") == "\\x1b]0;pwned\\x07"
    assert printable(os.fsdecode(b"caf\xe9")) == "caf\\xe9"
    assert printable("\u202egpj") == "\\u202egpj"
    assert str(InputError("caf\udce9")) == "caf\\xe9"


def test_a_link_where_a_file_is_to_be_written_leads_nowhere(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    part_of(tmp_path / "a.json").symlink_to(victim)
    write_whole(tmp_path / "a.json", "new")
    assert victim.read_text() == "mine" and (tmp_path / "a.json").read_text() == "new"
    (tmp_path / "b.json").symlink_to(victim)
    write_whole(tmp_path / "b.json", "new")
    assert victim.read_text() == "mine" and not (tmp_path / "b.json").is_symlink()
    (tmp_path / "log").symlink_to(tmp_path / "new")
    with pytest.raises(InputError, match="found a link"):
        open_to_append(tmp_path / "log")
    assert not (tmp_path / "new").exists()


def write_thrice(path, go, letter):
    def slowly(file):
        for _ in range(50):
            file.write(letter)
            file.flush()
            time.sleep(0.002)

    while not go.exists():
        time.sleep(0.001)
    for _ in range(3):
        write_whole(path, slowly)
        assert path.read_bytes() in (b"a" * 50, b"b" * 50)


def test_two_writers_of_one_file_do_not_take_each_others_part(tmp_path, warm):
    path, go = tmp_path / "a.json", tmp_path / "go"
    writers = [warm.start(write_thrice, path, go, letter) for letter in (b"a", b"b")]
    go.touch()
    end_well(*writers)
    assert sorted(os.listdir(tmp_path)) == ["a.json", "go"]


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_one_keeps_its_own(tmp_path):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    own = part_of(tmp_path / "a.json").name
    gone, living = (own.replace(f"-{os.getpid()}.", f"-{one}.") for one in (done.pid, os.getppid()))
    elsewhere = f"a.json.00000000-{done.pid}.part"
    for name in (gone, living, elsewhere, "film.part"):
        (tmp_path / name).touch()
    write_whole(tmp_path / "b.json", "new")
    assert sorted(os.listdir(tmp_path)) == sorted([living, elsewhere, "film.part", "b.json"])
    assert len(os.fsencode(part_of(tmp_path / ("x" * LONGEST)).name)) == LONGEST


def test_tables_keep_every_digit_and_leave_what_is_not_defined_empty():
    rows = [["name", "score"], ["a, b", 0.1 + 0.2], ["none", float("nan")], ["endless", -math.inf], ["count", 3]]
    assert dump_csv(rows) == 'name,score\n"a, b",0.30000000000000004\nnone,\nendless,\ncount,3\n'
