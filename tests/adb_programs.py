"""What the scripted phone runs in place of the native benchmarks: the same options, the same print, times from a file."""

COMMON = """
import os, pathlib, sys, time
sandbox = pathlib.Path(os.environ["SANDBOX"])
with (sandbox / "pids").open("a") as file:
    file.write(f"{os.getpid()}\\n")
starts = sandbox / "starts"
n = len(starts.read_text().splitlines()) if starts.exists() else 0
with starts.open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
mode = (sandbox / "mode").read_text().split() if (sandbox / "mode").exists() else []
if mode and n >= int(mode[1]):
    if mode[0] == "hang":
        time.sleep(600)
    if mode[0] == "other":
        sys.exit(print("a tool of another world"))
    if mode[0] == "refuse":
        print("INFO: Loaded model"); print("ERROR: Didn't find op for builtin opcode 'X' version '9'", file=sys.stderr)
        sys.exit(1)
"""

# Prints as BenchmarkModel::Run and StatWithPercentiles::OutputToStream do; --real runs the file with ai-edge-litert.
LITERT = (
    COMMON
    + """
known = ("graph signature_to_run_for input_layer input_layer_shape input_layer_value_files num_threads num_runs min_secs "
         "warmup_runs warmup_min_secs output_filepath").split()
options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
if unknown := set(options) - set(known):
    sys.exit(f"Unconsumed cmdline flags: {unknown}")
names, shapes = options["input_layer"].split(","), options["input_layer_shape"].split(":")
files = dict(part.split(":") for part in options["input_layer_value_files"].split(","))
assert len(names) == len(shapes) and set(files) == set(names) and options["num_runs"] == "3"
fed = {name: pathlib.Path(path).read_bytes() for name, path in files.items()}
for name, shape in zip(names, shapes):
    size = 4 * int(shape.split(",")[0]) * int(shape.split(",")[1])
    if len(fed[name]) != size:
        sys.exit(f"The size of {files[name]} is {len(fed[name])} bytes. It should be {size} bytes.")
assert pathlib.Path(options["graph"]).is_file()
if "output_filepath" in options:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(options["graph"])
    runner = interpreter.get_signature_runner(options["signature_to_run_for"])
    order = [d["index"] for d in interpreter.get_output_details()]
    details = runner.get_output_details()
    values = {name: np.frombuffer(fed[name], "<i4").reshape(1, -1) for name in names}
    found = runner(**values)
    content = b"".join(found[name].astype("<f4").tobytes() for name in sorted(found, key=lambda k: details[k]["index"]))
    pathlib.Path(options["output_filepath"]).write_bytes(content)
us = [5000 + 10 * n, 5300 + n, 5100 + n]
middle = sorted(us)[1]
print("INFO: Log parameter values verbosely: [0]")
print(f"INFO: Graph: [{options['graph']}]")
print("INFO: Initialized session in 12.345ms.")
print("INFO: Running benchmark for at least 2 iterations and at least 0.2 seconds but terminate if exceeding 150 seconds.")
print("INFO: count=37 first=9000 curr=5100 min=5000 max=9000 avg=5200.1 std=100 p5=5000 median=5100 p95=6000\\n")
print("INFO: Running benchmark for at least 3 iterations and at least 0 seconds but terminate if exceeding 150 seconds.")
print(f"INFO: count=3 first={us[0]} curr={us[2]} min={min(us)} max={max(us)} avg={sum(us) / 3:.6g} std=125 "
      f"p5={min(us)} median={middle} p95={max(us)}\\n")
print(f"INFO: Inference timings in us: Init: 12345, First inference: 9000, Warmup (avg): 5200.1, "
      f"Inference (avg): {sum(us) / 3:.6g}")
print("INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the "
      "actual memory footprint of the model at runtime. Take the information at your discretion.")
print("INFO: Memory footprint delta from the start of the tool (MB): init=10.5 overall=20.25")
"""
)

# Prints and writes as PerformanceRunner::Run and PerformanceResult::DumpToFile do.
ONNX = (
    COMMON
    + """
import hashlib
words = sys.argv[1:]
assert words[:4] == ["-e", "cpu", "-m", "times"] and words[4] == "-r" and words[6] == "-x" and len(words) == 10
runs, model, results = int(words[5]), pathlib.Path(words[8]), pathlib.Path(words[9])
files = sorted((model.parent / "test_data_set_0").glob("*.pb"))
if not files or not model.is_file():
    sys.exit(f"there is no test data for model {model.parent.name}")
with (sandbox / "fed").open("a") as file:
    file.write(hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest() + "\\n")
print("Setting intra_op_num_threads to", words[7])
print("Session creation time cost: 0.0455992 s")
print("First inference time cost: 12 ms")
print("Total inference time cost: 0.015 s")
print(f"Total inference requests: {runs}")
with results.open("a") as file:
    for i in range(runs):
        file.write(f"0,{0.004 + 1e-5 * (i - runs + 3):.6g},31457280,97,{i}\\n")
"""
)

# Prints as executor_runner.cpp's ET_LOG and writes its output files; runs the file with the runtime of the wheel.
EXECUTORCH = (
    COMMON
    + """
known = "model_path inputs input_shapes method_name num_executions cpu_threads print_output output_file".split()
options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
if unknown := set(options) - set(known):
    sys.exit(f"ERROR: unknown command line flag {unknown}")
runs = int(options["num_executions"])
import numpy as np
import torch
import executorch.kernels.quantized
from executorch.runtime import Runtime
method = Runtime.get().load_program(options["model_path"]).load_method(options["method_name"])
fed = []
for i, (path, shape) in enumerate(zip(options["inputs"].split(","), options["input_shapes"].split(","), strict=True)):
    sizes, most = [int(size) for size in shape.split("x")], method.metadata.input_tensor_meta(i).sizes()
    content = np.frombuffer(pathlib.Path(path).read_bytes(), "<i8")
    if content.size != np.prod(most):
        sys.exit(f"Could not prepare inputs: {content.size} elements for {most}")
    fed.append(torch.from_numpy(content[: np.prod(sizes)].reshape(sizes).copy()))
outputs = method.execute(fed)
if "output_file" in options:
    for i, output in enumerate(outputs):
        pathlib.Path(f"{options['output_file']}-{i}.bin").write_bytes(output.numpy().tobytes())
log = "I 00:00:00.001234 executorch:executor_runner.cpp:300] "
print(log + "Model loaded in 7.500000 ms.", file=sys.stderr)
for i in range(runs):
    print(log + f"Iteration {i + 1} of {runs}: {9 if not i else 2 + 0.01 * (i - runs + 3) + n:f} ms", file=sys.stderr)
print(log + f"Model executed successfully {runs} time(s) in 30.0 ms.", file=sys.stderr)
"""
)
