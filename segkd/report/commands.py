"""The commands that end with a page, `segkd evaluate` and `segkd analyse`: `report.html` lies beside their files."""

from rich.text import Text

from segkd.report.evaluation import judge
from segkd.types import InputError, printable


def evaluate(arguments: list[str]) -> int:
    """`segkd evaluate`: prints scores; with `--out FOLDER`, writes tables, curves and a page for each data set."""
    judgement = judge(arguments)
    if judgement.out is None or not judgement.main:
        return judgement.status()
    from segkd.disk import write_whole
    from segkd.report.outputs import write_outputs

    folders = write_outputs(judgement.out, judgement.judged)
    judgement.console.print(f"scores: {judgement.out}")
    if judgement.out.suffix != ".json":
        from segkd.report.page import page

        for one, folder in zip(judgement.judged, folders):
            try:
                write_whole(folder / "report.html", page(one, ["segkd", "evaluate", *arguments]))
            except OSError as error:
                raise InputError(f"{folder}/report.html: cannot be made: {error}.") from error
            judgement.console.print(f"page: {folder / 'report.html'}")
    return judgement.status()


ANALYSES = {
    "spectra": "which frequencies trained networks learned first (output) and rely on (input)",
    "tables": "how a learned quantisation table changed while a run trained",
}


def analyse(arguments: list[str]) -> int:
    """`segkd analyse spectra RUN...` or `segkd analyse tables RUN`."""
    what, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if what in ("-h", "--help"):
        lines = [f"  {name:<8} {about}" for name, about in ANALYSES.items()]
        print("usage: segkd analyse {spectra,tables} ...\n\n" + "\n".join(lines) + "\n\nsegkd analyse NAME --help")
        return 0
    if what == "tables":
        from segkd.analysis.tables import analyse_tables

        return analyse_tables(rest)
    if what == "spectra":
        return _spectra(rest)
    raise InputError(f"expected one of {', '.join(ANALYSES)}, found {what!r}. See segkd analyse --help.")


def _spectra(arguments: list[str]) -> int:
    from segkd.analysis.commands import analyse_spectra
    from segkd.analysis.figures import draw_figures
    from segkd.analysis.outputs import write_outputs
    from segkd.disk import write_whole
    from segkd.report.spectra import spectra_page

    found = analyse_spectra(arguments)
    write_outputs(found.groups, found.sentences, found.out, found.about)  # the numbers first: a figure costs none
    figures = draw_figures(found.groups, found.out / "figures")
    write_whole(found.out / "report.html", spectra_page(found.groups, found.sentences, figures, found.about))
    for sentence in found.sentences:
        found.console.print(Text.assemble((f"{sentence.verdict}:", "bold"), f" {printable(sentence.text)}"))
    found.console.print(f"page: {found.out / 'report.html'}")
    return 0
