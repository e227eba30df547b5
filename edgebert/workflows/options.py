"""The options of a fit, each declared once.

From these come the options of `edgebert fit`, the keys of edgebert.toml with their JSON Schema, what `edgebert init` writes
and the table in the guide. Types, choices and defaults are those of `edgebert.types.FitRequest`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Literal

from edgebert.types import FitRequest

PathKind = Literal["", "file", "model", "rows", "toml"]
JSONType = Literal["string", "number", "integer", "boolean", "strings", "table"]

TABLES = {  # of edgebert.toml -> its title in --help, and what `edgebert init` writes over it
    "": ("Start with these", "What is fitted, and for what."),
    "data": ("Data", "Labelled rows, and text beside them."),
    "student": ("Student", "What is made of the teacher. Without a recipe, short trainings choose one."),
    "budget": ("Budget", "What a file may cost. What is left out is the device's own."),
    "training": ("Training", "How long and how it is trained."),
    "output": ("Output", "Which files are written and proven."),
    "bundle": ("Packages", "What is packaged once a file has passed."),
}


@dataclass(frozen=True)
class FitOption:
    """One option.

    Attributes:
        field: of FitRequest; of edgebert.toml alone where FitRequest has none of this name.
        table: of edgebert.toml, a key of TABLES.
        help: what it is, in words that are true on the command line and in the file.
        example: a value of its type, which the commented file shows.
        key: in the table, where it is not the field's name.
        flag: on the command line, without dashes, where it is not the field's name; None: the command line has it not,
            or in another form.
        otherwise: what holds where it is not given and FitRequest leaves that open.
        path: "file", a path; "model", a folder or a hub id; "rows", what --data takes; "toml", a name or a TOML file.
        least, above, most: bounds of a number.
        keys: of a table whose keys are fixed.
        listed: a command that lists the names.
        is_first: shown among the first in --help.
    """

    field: str
    table: str
    help: str
    example: object
    key: str = ""
    flag: str | None = ""
    metavar: str | None = None
    otherwise: str = ""
    path: PathKind = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    keys: tuple[str, ...] = ()
    kind: JSONType | None = None
    is_first: bool = False

    @property
    def name(self) -> str:
        """The key in its table."""
        return self.key or self.field

    @property
    def dotted(self) -> str:
        """The key with its table: `training.effort`."""
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def option(self) -> str | None:
        """On the command line: `--max-drop`."""
        return None if self.flag is None else f"--{self.flag or self.field.replace('_', '-')}"

    @cached_property
    def annotation(self) -> object:
        """The type that FitRequest gives it, without None."""
        hint = _HINTS[self.field]
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            return next(item for item in typing.get_args(hint) if item is not type(None))
        return hint

    @cached_property
    def type(self) -> JSONType:
        """As the schema says it; "strings" is a string or a list of them, "table" is TOML's."""
        if self.kind:
            return self.kind
        simple: dict[object, JSONType] = {str: "string", float: "number", int: "integer", bool: "boolean"}
        if self.annotation in simple:
            return simple[self.annotation]
        origins: dict[object, JSONType] = {Literal: "string", tuple: "strings", Mapping: "table"}
        return origins[typing.get_origin(self.annotation)]

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """The values that there are; () where they are not fixed."""
        in_request = self.field in _HINTS and typing.get_origin(self.annotation) is Literal
        return typing.get_args(self.annotation) if in_request else ()

    @cached_property
    def default(self) -> object:
        """FitRequest's; None where it leaves the choice to the device, the task or the effort."""
        return _DEFAULTS.get(self.field)


_HINTS = typing.get_type_hints(FitRequest)
_DEFAULTS = {item.name: item.default for item in fields(FitRequest) if item.default is not MISSING} | {"task": "ner"}

OPTIONS = (
    FitOption(
        "device", "", "The device to fit: a name that `edgebert devices` lists, or a TOML file.", "pixel6", path="toml",
        is_first=True,
    ),
    FitOption(
        "devices", "", "Several devices in place of one: each is fitted in a run of its own, one after the other, and what "
        "they share is made once.", ["pixel6", "iphone13"], kind="strings", flag=None, path="toml",
    ),
    FitOption(
        "task", "", "What the model is for: a name that `edgebert tasks` lists. For one model with several heads NAME=TASK, "
        "several times: joined by commas in a file.", "ner", is_first=True,
    ),
    FitOption(
        "teacher", "", "The model to compress: a checkpoint folder or a hub id.", "./my-bert", path="model",
        otherwise="all-MiniLM-L6-v2", is_first=True,
    ),
    FitOption(
        "data", "data", "Labelled rows: a file, a folder, a hub id, a name that `edgebert data` lists, or SPLIT=PATH. May be "
        "repeated.", ["train=train.csv", "test=test.csv"], key="rows", path="rows", otherwise="the task's demo data",
        is_first=True,
    ),
    FitOption(
        "run", "", "The folder that keeps stages, report and bundle.", "runs/my-model", path="file",
        otherwise="runs/TASK-DATA-DEVICE", is_first=True,
    ),
    FitOption(
        "columns", "data", "The columns that hold the texts, the second texts and the labels.",
        {"text": "body", "label": "topic"}, flag=None, keys=("text", "second", "label"), otherwise="found by their names",
    ),
    FitOption(
        "unlabelled", "data", "Text without labels that kd and other methods learn from too: a file with one text a line, or "
        "a folder of .txt files. May be repeated.", ["texts.txt"], metavar="PATH", path="file",
    ),
    FitOption("encoding", "data", "Encoding of text files.", "utf-8"),
    FitOption(
        "max_length", "data", "Tokens that the model reads at once; a longer text is read in windows or cut, as its task "
        "says.", 128, least=8, otherwise="128, or what the teacher reads",
    ),
    FitOption(
        "student", "student", "The checkpoint whose weights the student starts from; `teacher` for the teacher's own layers "
        "alone.", "teacher", key="start", path="model",
        otherwise="those layers, and small checkpoints that lie on this machine",
    ),
    FitOption(
        "starts", "student", "A folder with small pretrained checkpoints that students may start from, beside those that are "
        "found. May be repeated.", ["small-models"], metavar="FOLDER", path="file",
    ),
    FitOption(
        "recipe", "student", "The compression methods in order, joined by + (`edgebert methods` lists them), or a TOML file.",
        "trim-vocab+drop-layers+kd", path="toml", otherwise="chosen by short trainings",
    ),
    FitOption(
        "params", "student", "Set a parameter of a method or an option of a task.", {"drop-layers": {"n_layers": 3}},
        flag="set", metavar="NAME.PARAM=VALUE",
    ),
    FitOption(
        "candidates", "student", "How many student shapes to train.", 1, least=1, otherwise="by the effort",
    ),
    FitOption(
        "search_trials", "student", "Judge so many networks on the development rows, cut out of the one that dynabert trains, and "
        "train the best within the budget; the recipe has dynabert+cut.", 200, least=0,
    ),
    FitOption(
        "study", "student", "Keep the search's trials in this database, in which `edgebert search worker URL` takes part from "
        "other machines.", "postgresql://me@host/edgebert", metavar="URL", otherwise="in the run folder",
    ),
    FitOption(
        "baselines", "student", "With several heads: also fit a model for each task alone, to compare.", False,
    ),
    FitOption(
        "allow_pickle", "student", "Read pickled weights, which can run code: only for authors that you trust.", False,
    ),
    FitOption(
        "max_drop", "budget", "Largest loss of the metric against the teacher, in points (1 point = 0.01).", 2.0, least=0,
        otherwise="the device's budget",
    ),
    FitOption(
        "max_latency_ms", "budget", "Largest latency on the device, at the data's 95th-percentile length.", 20.0, above=0,
        otherwise="the device's budget",
    ),
    FitOption(
        "max_size_mb", "budget", "Largest size of the model file, 1 MB = 10^6 bytes.", 10.0, above=0,
        otherwise="the device's budget",
    ),
    FitOption(
        "max_memory_mb", "budget", "Largest memory of runtime and file, measured on loading and first running it.", 200.0,
        above=0, otherwise="the device's budget",
    ),
    FitOption(
        "on", "budget", "Where to measure beside this machine: adb, ssh:USER@HOST, browser; none predicts only.", "none",
        key="measure_on", metavar="TARGET", otherwise="the device, where it can be reached",
    ),
    FitOption("effort", "training", "How long to train, and how many student shapes.", "standard"),
    FitOption(
        "epochs", "training", "Epochs of the student's last training.", 10.0, above=0, otherwise="by the effort and the rows",
    ),
    FitOption(
        "teacher_epochs", "training", "Epochs of the teacher, where it needs a new head.", 5.0, above=0,
        otherwise="by the effort and the rows",
    ),
    FitOption(
        "learning_rate", "training", "Peak learning rate.", 3e-4, above=0, otherwise="by the model's width",
    ),
    FitOption("batch_size", "training", "Rows of a training step.", 32, least=1),
    FitOption(
        "mixed_precision", "training", "Precision of training; auto is bf16 where the processor multiplies matrices of it "
        "(AMX, most GPUs), else no.", "auto",
    ),
    FitOption(
        "average_weights", "training", "End each training with an average of its weights that reaches back over this share "
        "of its steps, such as 0.1.", 0.1, least=0, most=1,
    ),
    FitOption(
        "early_stopping", "training", "End a training whose development score has not risen so many times, and keep the best; "
        "0 trains to the end.", 0, least=0, metavar="SCORES",
    ),
    FitOption("seed", "training", "Seed of every random choice.", 0),
    FitOption(
        "formats", "output", "File formats, such as onnx, tflite, coreml, coreai, openvino or executorch. Several are separated by commas on the command line.",
        ["onnx"], flag="format", otherwise="the device's",
    ),
    FitOption(
        "precisions", "output", "Precisions to write beside fp32, several as for the formats; sizes are planned for the "
        "first.", ["int8"], flag="precision",
    ),
    FitOption(
        "shape", "output", "How Core ML and Core AI files take their lengths; functions is a fixed program for each, which "
        "share the weights.", "functions", otherwise="enumerated",
    ),
    FitOption(
        "platforms", "bundle", "Platforms for which each winner is packaged in its run, under packages/: android, ios, "
        "web, python and others that `edgebert bundle` takes.", ["android"], kind="strings", flag=None,
    ),
)  # fmt: skip
BY_FIELD = {option.field: option for option in OPTIONS}


def keys_of(table: str) -> dict[str, FitOption]:
    """The options of a table by their keys."""
    return {option.name: option for option in OPTIONS if option.table == table}


# ---------------------------------------------------------------- JSON Schema

SCALARS = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
TEXT = {"type": "string", "minLength": 1}


def schema() -> dict[str, object]:
    """edgebert.toml as JSON Schema, draft 2020-12."""
    tables = {
        name: {
            "type": "object",
            "description": description,
            "properties": {key: _property(option) for key, option in keys_of(name).items()},
            "additionalProperties": False,
        }
        for name, (_, description) in TABLES.items()
    }
    top = tables.pop("")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edgebert.toml",
        **top,
        "description": "The whole request of a fit: `edgebert fit --config edgebert.toml` carries it out.",
        "properties": {**typing.cast("dict[str, object]", top["properties"]), **tables},
        "oneOf": [{"required": ["device"]}, {"required": ["devices"]}],
    }


def _property(option: FitOption) -> dict[str, object]:
    result: dict[str, object] = {"description": option.help}
    if option.type == "strings":
        result["anyOf"] = [TEXT, {"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True}]
    elif option.type == "table":
        result |= _table(option)
    else:
        result["type"] = option.type
        if option.choices:
            result["enum"] = list(option.choices)
        elif option.type == "string":
            result["minLength"] = 1
    bounds = {"minimum": option.least, "exclusiveMinimum": option.above, "maximum": option.most}
    result |= {name: bound for name, bound in bounds.items() if bound is not None}
    if option.default not in (None, (), {}) and option.type != "table":
        result["default"] = list(option.default) if isinstance(option.default, tuple) else option.default
    result["examples"] = [option.example]
    return result


def _table(option: FitOption) -> dict[str, object]:
    """Of a table with fixed keys, or of parameters: `kd.folds = 5`, as a table in a table or as one quoted key."""
    if option.keys:
        return {"type": "object", "properties": dict.fromkeys(option.keys, TEXT), "additionalProperties": False}
    inner = {"type": "object", "additionalProperties": SCALARS}
    return {"type": "object", "patternProperties": {r"\.": SCALARS}, "additionalProperties": inner}
