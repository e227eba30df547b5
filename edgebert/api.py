"""What the commands do, as functions with typed results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.devices.profiles import device_profiles as list_devices
from edgebert.faults import needs_extra
from edgebert.methods import METHODS
from edgebert.results import CompressResult, ConvertResult, CutResult, FitResult, PackageResult
from edgebert.runs.listing import list_runs
from edgebert.types import FitRequest
from edgebert.workflows.carry_out import before_torch, carry_out, search_worker
from edgebert.workflows.device import find_device as get_device
from edgebert.workflows.runs import show_run
from edgebert.workflows.search_state import best_recipe, search_state

if TYPE_CHECKING:
    from edgebert.budget.findings import GateResult
    from edgebert.bundle import BundleCheck
    from edgebert.bundle.predictor import Predictor
    from edgebert.measure.figures import Measurement
    from edgebert.methods import Method
    from edgebert.report.comparison import Comparison
    from edgebert.types import OnEvent
    from edgebert.workflows.calibrate import Calibrated
    from edgebert.workflows.config_fit import DeviceResult

__all__ = [
    "Predictor",
    "best_recipe",
    "calibrate",
    "check",
    "compare",
    "compress",
    "convert",
    "cut",
    "fit",
    "fit_config",
    "gate",
    "get_device",
    "get_method",
    "list_devices",
    "list_methods",
    "list_runs",
    "load",
    "package",
    "predict",
    "prepare_device",
    "profile",
    "search_state",
    "search_worker",
    "show_run",
    "suggest_budget",
]


def __getattr__(name: str) -> Any:
    """`Predictor` when it is first asked for: it loads numpy, which commands that list or show do without."""
    if name == "Predictor":
        from edgebert.bundle.predictor import Predictor

        return Predictor
    raise AttributeError(f"module 'edgebert.api' has no attribute '{name}'")


@needs_extra("fit")
def fit(
    device: str,
    task: str = "ner",
    *,
    teacher: str | None = None,
    data: str | Sequence[str] = (),
    on_event: OnEvent | None = None,
    command: str = "",
    locked: bool = False,
    **options: Any,
) -> FitResult:
    """Makes a student of the teacher that meets the device's budget, proves it, measures it and packages it.

    Args:
        device: a profile's name, or the path of a TOML file.
        task: a task's name.
        teacher: a checkpoint folder or a hub id; None is all-MiniLM-L6-v2.
        data: files, folders, a hub id, a catalogue name, or split=path; nothing is the task's own demo data.
        on_event: told of every event of the run, to show progress.
        command: what to write into the report as the command to reproduce it.
        locked: refuse where something differs from the manifest.json of the run that is repeated.
        **options: the other fields of `edgebert.types.FitRequest`.

    Returns:
        The run folder, the report, the bundle's folder, and an exit code: 1 when a budget or parity failed.

    Raises:
        EdgebertError: the request, the data or the teacher cannot be used.
        BudgetError: no student shape fits the budget.
    """
    specs = (data,) if isinstance(data, str) else tuple(data)
    request = FitRequest(device=device, task=task, teacher=teacher, data=specs, **options)
    return carry_out(request, command=command, locked=locked, on_event=on_event)


@needs_extra("fit")
def fit_config(
    config: str | Path,
    given: Mapping[str, Any] | None = None,
    *,
    on_event: OnEvent | None = None,
    command: str = "",
    locked: bool = False,
) -> tuple[DeviceResult, ...]:
    """Carries out the request in edgebert.toml; the command `edgebert fit --config`.

    Args:
        config: the file.
        given: fields of `edgebert.types.FitRequest` that count more than the file.
        on_event, command, locked: as in `fit`.
    """
    from edgebert.workflows.config import read_config
    from edgebert.workflows.config_fit import fit_devices

    run = partial(carry_out, command=command, locked=locked, on_event=on_event)
    return fit_devices(read_config(Path(config)), given or {}, run, on_event, locked=locked)


def package(
    path: str,
    platform: str,
    *,
    output: str | None = None,
    name: str | None = None,
    on_event: OnEvent | None = None,
) -> PackageResult:
    """Writes a platform's package of a proven file; the command `edgebert bundle`.

    Args:
        path: a run folder or a bundle.
        platform: android, ios, web, python, or another of `edgebert bundle --help`.
        output: the package's folder; by default NAME-PLATFORM in this one.
        name: of the package, legal on the platform; by default of the task and the data.
        on_event: told of each step.

    Raises:
        EdgebertError: no proven file runs there, the name is not legal, the tokenizer cannot be copied, or the bundle was
            changed or does not reproduce here.
    """
    from edgebert.workflows.bundle import bundle as write_package

    return write_package(Path(path), platform, output=Path(output) if output else None, name=name, on_event=on_event)


@needs_extra("fit")
def convert(
    model: str,
    formats: str | Sequence[str],
    *,
    on_event: OnEvent | None = None,
    **options: Any,
) -> ConvertResult:
    """Converts a checkpoint and proves each file; the command `edgebert convert`.

    Args:
        model: a checkpoint folder or a hub id.
        formats: such as onnx, tflite, coreml, coreai, openvino or executorch.
        on_event: told of what is under way.
        **options: the other fields of `edgebert.workflows.convert_request.ConvertRequest`.

    Raises:
        EdgebertError: the request, the checkpoint or the rows cannot be used, or the family cannot be expressed.
    """
    from edgebert.workflows.convert_request import ConvertRequest, check_names

    names = (formats,) if isinstance(formats, str) else tuple(formats)
    request = ConvertRequest(model=model, formats=names, **options)
    check_names(request)
    before_torch(on_event)
    from edgebert.workflows.convert import convert as run_conversion

    return run_conversion(request, on_event)


@needs_extra("fit")
def compress(
    model: str,
    recipe: str,
    *,
    task: str = "ner",
    data: str | Sequence[str] = (),
    output: str | None = None,
    force: bool = False,
    max_size_mb: float | None = None,
    on_event: OnEvent | None = None,
    **options: object,
) -> CompressResult:
    """Applies a recipe to a checkpoint and writes the student as a checkpoint; the command `edgebert compress`.

    Args:
        model: a checkpoint folder or a hub id; a head that does not fit the labels is fine-tuned first.
        recipe: methods joined by +, or the path of a TOML file.
        task, data, on_event: as in `fit`.
        output: the student's folder; by default the model's name with -small.
        force: replace a folder that exists.
        max_size_mb: of an int8 file, 1 MB = 10^6 bytes; sizes that the recipe leaves open follow from it.
        **options: other fields of `edgebert.types.FitRequest`, such as `params`, `student`, `unlabelled`, `epochs`.

    Raises:
        EdgebertError: the recipe cannot be, or the checkpoint or the rows cannot be used.
        BudgetError: no student fits `max_size_mb`.
    """
    from edgebert.workflows.names import check_names, compress_request

    specs = (data,) if isinstance(data, str) else tuple(data)
    folder, request = compress_request(model, recipe, output, task=task, data=specs, **options)
    check_names(request)
    before_torch(on_event)
    from edgebert.workflows.compress import compress as run_compression

    return run_compression(request, folder, force=force, max_size_mb=max_size_mb, on_event=on_event)


@needs_extra("fit")
def cut(model: str, *, output: str | None = None, force: bool = False, **options: Any) -> CutResult:
    """Cuts a smaller network out of one that `dynabert` trained, without training; the command `edgebert cut`.

    Args:
        model: the folder of the checkpoint.
        output: the smaller one's folder; by default the model's name with -cut.
        force: replace a folder that exists.
        **options: the other fields of `edgebert.workflows.cut_request.CutRequest`, such as `device`, `width`, `max_size_mb`.

    Raises:
        EdgebertError: the checkpoint is none of that kind, or the shape cannot be.
        BudgetError: no network that was scored fits the limits.
    """
    from edgebert.workflows.cut_request import cut_request

    folder, request = cut_request(model, output, **options)
    before_torch(None)
    from edgebert.workflows.cut import cut as cut_out

    return cut_out(request, folder, force=force)


@needs_extra()
def load(path: str | Path) -> Predictor:
    """The packaged model of a run or bundle folder, ready to predict. Loads neither torch nor transformers."""
    from edgebert.bundle.predictor import Predictor

    return Predictor(Path(path))


@needs_extra()
def predict(path: str | Path, texts: Sequence[str | Sequence[str]]) -> list[object]:
    """The answers of a run's packaged model, one a text or pair of texts."""
    return load(path).predict(texts)


@needs_extra()
def check(path: str | Path) -> BundleCheck:
    """Proves a bundle again here: files against their sha256, each fact against every place where it stands, golden
    vectors against the runtime.

    Raises:
        RequestError: there is no bundle, or no runtime for it.
        ParityError, DataError: what differs.
    """
    from edgebert.bundle import check_bundle
    from edgebert.bundle.manifest import find_bundle

    return check_bundle(find_bundle(Path(path)))


@needs_extra()
def gate(path: str | Path, *, budget: str | Path | None = None, baseline: str | Path | None = None) -> GateResult:
    """Judges a run by a budget and against a baseline; the command `edgebert gate`. Loads no torch.

    Args:
        path: a run folder, or its report.json.
        budget: a TOML file of limits; None is the budget that the run was planned with.
        baseline: a run folder or a report.json to compare with.

    Returns:
        Every limit with its figure and what it says, and an exit code: 1 where one is broken, 2 where one has no figure.

    Raises:
        EdgebertError: there is no finished run, a limit is not understood, or the baseline is of another task, device or
            data.
    """
    from edgebert.workflows.gate import gate as judge

    return judge(Path(path), Path(budget) if budget else None, Path(baseline) if baseline else None)


@needs_extra()
def suggest_budget(path: str | Path) -> str:
    """The text of a budget.toml that a run meets, with some room."""
    from edgebert.workflows.gate import suggested

    return suggested(Path(path))


@needs_extra()
def compare(runs: Sequence[str | Path], *, output: str | None = None) -> Comparison:
    """What the files of runs differ in, held against the first; the command `edgebert compare`.

    Args:
        runs: two run folders or more, whose packaged files are meant, or "RUN:STUDENT/FILE" for another file.
        output: a file for the page.

    Raises:
        RequestError: no run or file of that name, other tasks or metrics, or the page needs a package that is not there.
        RunError: a run is damaged, or the page cannot be written.
    """
    from edgebert.workflows.compare import compare as compare_runs

    return compare_runs([str(run) for run in runs], Path(output) if output is not None else None)


@needs_extra()
def profile(
    artifacts: str | Path | Sequence[str | Path],
    on: str | Sequence[str] = "here",
    *,
    output: str | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Measurement:
    """Measures files where they will run; the command `edgebert profile`.

    Args:
        artifacts: files, bundles, run folders or what `convert` wrote.
        on: "here", "ssh:user@host", …
        output: a JSON file for everything, raw times included.
        on_event: told of what is under way.
        **options: the other fields of `edgebert.measure.measure.Request`, such as `threads`, `cores`, `texts`.

    Raises:
        EdgebertError: the request cannot be, or the only target gave nothing.
    """
    from edgebert.measure.measure import Request
    from edgebert.workflows.engines import profile as run_profile

    names = (artifacts,) if isinstance(artifacts, (str, Path)) else tuple(artifacts)
    targets = (on,) if isinstance(on, str) else tuple(on)
    return run_profile(Request(tuple(map(str, names)), targets, **options), output, on_event)


@needs_extra("fit")
def calibrate(
    on: str = "here",
    device: str | None = None,
    *,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Calibrated:
    """Fits the cost model of a device to times measured on it, and keeps it; the command `edgebert calibrate`.

    Args:
        on: "here", "browser", "ssh:user@host", …
        device: the profile that the target is; here and browser tell by themselves.
        on_event: told of what is under way.
        **options: the other fields of `edgebert.workflows.calibrate.Request`, such as `threads`, `precisions`, `lengths`.

    Raises:
        EdgebertError: the request cannot be, the target cannot be used, or a probe does not run there.
    """
    from edgebert.workflows.calibrate import Request
    from edgebert.workflows.calibrate import calibrate as run_calibration

    return run_calibration(Request(on=on, device=device, **options), on_event)


def prepare_device(on: str, *, on_event: OnEvent | None = None) -> str:
    """Installs on a target what measuring needs there, in a folder of ours; says what it installed.

    Raises:
        EdgebertError: there is nothing to install for such a target, or it cannot be done.
    """
    from edgebert.measure.targets import prepare

    return prepare(on, on_event)


def list_methods() -> Mapping[str, Method]:
    """The registered compression methods by name."""
    return METHODS.all()


def get_method(name: str) -> Method:
    """One compression method by name."""
    return METHODS.get(name)
