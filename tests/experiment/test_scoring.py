import io

import pytest
from rich.console import Console

from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.experiment.scoring import open_split
from segkd.types import InputError


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("foreground", "background"), "background is another number there"),
        (("a", "b", "c"), "names 2 classes .* but the student was trained on 3"),
    ],
)
def test_classes_that_stand_elsewhere_in_the_student_are_refused(classes, said):
    data = Data(embedded=Embedded(train=2, val=1, test=1, side=32), size=(32, 32))
    with pytest.raises(InputError, match=said):
        open_split(data, "val", Console(file=io.StringIO()), classes)


def test_classes_of_other_names_may_be_the_same():
    data = Data(embedded=Embedded(train=2, val=1, test=1, side=32), size=(32, 32))
    assert len(open_split(data, "val", Console(file=io.StringIO()), ("sky", "bird")).ids) == 1
