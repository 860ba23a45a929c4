"""`segkd evaluate` with its page: the judge's scores and files, and beside them `report.html`."""

from segkd.experiment.commands import judge
from segkd.types import InputError


def evaluate(arguments: list[str]) -> int:
    """`segkd evaluate`: prints scores; with `--out FOLDER`, writes tables, curves and a page for each data set."""
    judgement = judge(arguments)
    if judgement.out is None or not judgement.main:
        return judgement.status()
    from segkd.experiment.outputs import write_outputs, write_text

    folders = write_outputs(judgement.out, judgement.judged)
    judgement.console.print(f"scores: {judgement.out}")
    if judgement.out.suffix != ".json":
        from segkd.report.page import page

        for one, folder in zip(judgement.judged, folders):
            try:
                write_text(folder / "report.html", page(one, ["segkd", "evaluate", *arguments]))
            except OSError as error:
                raise InputError(f"{folder}/report.html: cannot be made: {error}.") from error
            judgement.console.print(f"page: {folder / 'report.html'}")
    return judgement.status()
