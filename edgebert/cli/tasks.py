"""edgebert tasks"""

from __future__ import annotations

import click

from edgebert.cli._show import json_option, print_json, print_table


@click.command(
    "tasks",
    short_help="List the tasks and their options.",
    epilog="""\b
Examples:
  edgebert tasks
  edgebert fit --device pixel6 --task qa --data squad.json --set qa.stride=64""",
)
@json_option
def command(as_json: bool) -> None:
    """Lists the tasks: what each reads, how it is scored, and its options for --set TASK.OPTION=VALUE."""
    from edgebert.tasks import TASKS, task_options

    tasks = list(TASKS.all().values())
    options = {task.name: [(field, field.metadata.get("help", "")) for field in task_options(task)] for task in tasks}
    if as_json:
        print_json(
            [
                {name: getattr(task, name) for name in ("name", "aliases", "title", "metric", "inputs", "default_data")}
                | {
                    "options": {
                        field.name: {"default": field.default, "help": help} for field, help in options[task.name]
                    }
                }
                for task in tasks
            ]
        )
        return
    rows = [(task.name, ", ".join(task.aliases), task.title, task.metric, ", ".join(task.inputs)) for task in tasks]
    print_table(("task", "also", "what it is", "metric", "reads"), rows)
    for task in tasks:
        for field, help in options[task.name]:
            click.echo(f"--set {task.name}.{field.name}=…  {help}  [default: {field.default}]")
