from segkd.models.trained_on import note_trained_on, read_trained_on


def test_a_run_says_what_it_was_trained_on_with_the_images_of_earlier_sessions(tmp_path):
    assert read_trained_on(tmp_path) is None
    note_trained_on(tmp_path, ["b", "a b/c", "caf\u00e9"])
    note_trained_on(tmp_path, ["a b/c", "new"])
    assert read_trained_on(tmp_path) == {"b", "a b/c", "caf\u00e9", "new"}


def test_a_name_may_hold_what_ends_a_line_elsewhere(tmp_path):
    names = ["a\x0cb", "a\u2028b", "a\x85b", "a\rb"]
    note_trained_on(tmp_path, names)
    note_trained_on(tmp_path, [])
    assert read_trained_on(tmp_path) == set(names)
    file = tmp_path / "trained_on.txt"
    file.write_bytes(file.read_bytes().rstrip(b"\n"))  # as an editor may leave it
    assert read_trained_on(tmp_path) == set(names)
