"""What stands for GitHub's gh in the tests of action.yml: `run list` and `api` on comments, answered from state.json.

`--jq` is given to jq, whose language gh's own is. An option, a command or an address that is not known here is an error.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ["GH_STATE"])
FLAGS = ("--paginate", "--silent")
VALUES = ("--method", "--jq", "-F", "--repo", "--workflow", "--branch", "--event", "--status", "--limit", "--json")


def parse(words: list[str]) -> tuple[list[str], dict[str, str]]:
    places, options = [], {}
    while words:
        word = words.pop(0)
        if word in VALUES:
            options[word] = words.pop(0)
        elif word in FLAGS:
            options[word] = ""
        elif word.startswith("-"):
            sys.exit(f"gh: unknown option {word}")
        else:
            places.append(word)
    return places, options


def api(state: dict, path: str, options: dict[str, str]) -> object:
    """Comments of pull request 7, one after the other."""
    comments = state["comments"]
    repository = os.environ["GITHUB_REPOSITORY"]
    if state["denied"]:
        sys.exit("gh: Resource not accessible by integration (HTTP 403)")
    body = {}
    if "-F" in options:
        name, _, file = options["-F"].partition("=@")
        body = {name: Path(file).read_text("utf-8")}
        assert len(body["body"]) <= 65536, "422: a comment has at most 65536 characters"
    method = options.get("--method", "GET")
    if path == f"repos/{repository}/issues/7/comments" and method == "GET":
        return comments
    if path == f"repos/{repository}/issues/7/comments" and method == "POST":
        comments.append({"id": 100 + len(comments), "user": {"type": "Bot"}, **body})
        return comments[-1]
    found = [item for item in comments if path == f"repos/{repository}/issues/comments/{item['id']}"]
    if method != "PATCH" or not found:
        sys.exit(f"gh: Not Found (HTTP 404): {method} {path}")
    found[0].update(body)
    return found[0]


def run_list(state: dict, options: dict[str, str]) -> object:
    wanted = {"branch": options["--branch"], "event": options["--event"], "status": options["--status"]}
    found = [run for run in reversed(state["runs"]) if all(run[name] == value for name, value in wanted.items())]
    names = options["--json"].split(",")
    return [{name: run[name] for name in names} for run in found[: int(options["--limit"])]]


def main() -> None:
    assert os.environ["GH_TOKEN"], (
        "gh: To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN environment variable"
    )
    state = json.loads((FOLDER / "state.json").read_text("utf-8"))
    places, options = parse(sys.argv[1:])
    if places[0] == "api":
        result = api(state, places[1], options)
    elif places == ["run", "list"]:
        result = run_list(state, options)
    else:
        sys.exit(f"gh: unknown command {places}")
    (FOLDER / "state.json").write_text(json.dumps(state), encoding="utf-8")
    with (FOLDER / "calls.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(sys.argv[1:]) + "\n")
    text = json.dumps(result)
    if "--jq" in options:
        text = subprocess.run(
            ["jq", "-r", options["--jq"]], input=text, capture_output=True, text=True, check=True
        ).stdout
    if "--silent" not in options:
        print(text.rstrip("\n"))


if __name__ == "__main__":
    main()
