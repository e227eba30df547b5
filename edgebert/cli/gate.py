"""edgebert gate"""

from __future__ import annotations

from pathlib import Path

import click


@click.command(
    "gate",
    short_help="Fail where a run breaks a budget, or got worse than a baseline.",
    epilog="""\b
Examples:
  edgebert gate runs/ner-atis-pixel6
  edgebert gate runs/ner-atis-pixel6 --suggest > budget.toml
  edgebert gate runs/ner-atis-pixel6 --budget budget.toml --baseline main/report.json
  edgebert gate runs/ner-atis-pixel6 --budget budget.toml --junit gate.xml --markdown gate.md --annotations github

\b
A budget:
  [limits]
  score = 90
  size_mb = 10
  latency_ms = { max = 12, on = "here" }
  [growth]
  score_points = 0.5
  latency_percent = { max = 10, on = "here" }

\b
Each latency, load and memory says what it is judged on: "here" as measured on this machine, "device" as measured on the
device of the fit, "predicted" by the cost model. Against a baseline a score falls only where a paired test over the test
rows says that chance does not explain it, and a time grows only where the spread of both measurements does not.

Exit codes: 0 every limit is kept, 1 a limit is broken, 2 none is, but one cannot be judged, or the request is wrong.""",
)
@click.argument("path", metavar="RUN")
@click.option(
    "--budget", metavar="FILE", help="The limits, in TOML. [default: the budget that the run was planned with]"
)
@click.option("--baseline", metavar="RUN|REPORT", help="A run, or its report.json, that the run is compared with.")
@click.option("--suggest", is_flag=True, help="Print a budget that the run meets, with some room, and judge nothing.")
@click.option("--junit", metavar="FILE", help="Write JUnit XML, a case a limit.")
@click.option("--markdown", metavar="FILE", help="Write Markdown for a pull request.")
@click.option(
    "--picture",
    metavar="URL",
    help="The run's picture in the Markdown; '' leaves it out. [default: its report.png, by its path]",
)
@click.option("--annotations", type=click.Choice(["github"]), help="Print annotations of a build log.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    path: str,
    budget: str | None,
    baseline: str | None,
    suggest: bool,
    junit: str | None,
    markdown: str | None,
    picture: str | None,
    annotations: str | None,
    as_json: bool,
) -> int:
    """Judges the packaged file of RUN (a run folder, or its report.json) by the limits of a budget, and against a baseline.
    Needs no torch."""
    from edgebert.api import gate, suggest_budget
    from edgebert.cli._show import print_json, stdout_console
    from edgebert.files import write_atomic
    from edgebert.report import gate as show

    if suggest:
        given = {"--budget": budget, "--baseline": baseline, "--junit": junit, "--markdown": markdown,
                 "--picture": picture, "--annotations": annotations, "--json": as_json}  # fmt: skip
        if unread := [name for name, value in given.items() if value]:
            raise click.UsageError(f"--suggest judges nothing, so {unread[0]} has no meaning beside it.")
        click.echo(suggest_budget(path), nl=False)
        return 0
    result = gate(path, budget=budget, baseline=baseline)
    if junit:
        write_atomic(Path(junit), show.to_junit(result))
    if markdown:
        picture = show.picture_of(Path(markdown), Path(path)) if picture is None else picture
        write_atomic(Path(markdown), show.to_markdown(result, picture))
    if as_json:
        print_json(show.as_json(result))
    else:
        show.print_gate(result, stdout_console())
    if annotations:
        for line in show.to_annotations(result):
            click.echo(line, err=as_json)
    return result.exit_code
