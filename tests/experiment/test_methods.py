import pytest

from segkd.experiment.layers import read_layer
from segkd.experiment.methods import FIELDS, card, parts_of, read_costs, recipes


def test_every_recipe_says_what_it_is_where_from_and_how_it_departs():
    found = recipes()
    assert len(found) >= 22
    for one in found:
        assert one.about.endswith(".") and len(one.about) > 20, one.name
        assert set(one.fields) == set(FIELDS), one.name


def test_a_card_holds_header_parts_with_their_docstrings_and_the_layer_itself():
    frskd = next(one for one in recipes() if one.name == "frskd")
    text = card(frskd)
    assert [part.__name__ for _, part in parts_of(read_layer(frskd.path))] == ["Refined", "Response", "Attention"]
    for said in ("Ji et al., CVPR 2021", "distiller.teachers.neck: Refined", "width: channels of the neck", frskd.about,
                 "class_path: Refined", "Refined(width=None)", "mean_b ||phi(F) - phi(T)||^2",
                 "T^2 mean_V KL(softmax(t / T) || softmax(s / T))"):  # fmt: skip
        assert said in text, said


def test_the_list_names_every_recipe_and_a_wrong_name_is_met_with_the_nearest(run_cli):
    status, out, _ = run_cli("methods")
    assert status == 0 and all(one.name in out.replace("\n", "") for one in recipes())
    assert run_cli("methods", "frskd")[1].startswith("frskd: ")
    status, _, err = run_cli("methods", "frskt")
    assert status == 2 and "Did you mean frskd?" in err


def test_costs_are_read_from_the_benchmark_s_table(tmp_path):
    assert read_costs(tmp_path / "none.csv") == {}
    (tmp_path / "costs.csv").write_text("recipe,step,memory\nfrskd,1.25,1.5\n")
    assert read_costs(tmp_path / "costs.csv") == {"frskd": {"step": 1.25, "memory": 1.5}}


@pytest.mark.parametrize("recipe", recipes(), ids=lambda one: one.name)
def test_headers_stay_within_a_line_of_the_house(recipe):
    assert max(map(len, recipe.path.read_text().splitlines())) <= 120
