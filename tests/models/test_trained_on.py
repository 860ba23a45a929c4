from segkd.models.trained_on import note_trained_on, read_trained_on


def test_a_run_says_what_it_was_trained_on_with_the_images_of_earlier_sessions(tmp_path):
    assert read_trained_on(tmp_path) is None
    note_trained_on(tmp_path, ["b", "a b/c", "caf\u00e9"])
    note_trained_on(tmp_path, ["a b/c", "new"])
    assert read_trained_on(tmp_path) == {"b", "a b/c", "caf\u00e9", "new"}
