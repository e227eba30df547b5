"""What is known of phones' accelerators: each rule with who said it and when. None was tried on a phone by us.

The converters count in a file what a rule is about (`Converter.accelerator_fallbacks`), and the planner heeds those that a
student's shape decides.
"""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_DIMENSION = 16384  # of a tensor that ONNX Runtime hands to Core ML


@dataclass(frozen=True)
class Rule:
    """Attributes:
    finding: what the rule counts, as converters name it; `{}` stands for an operator.
    why: what follows, in a sentence.
    source: where it was said.
    date: when, year and month; of a page without a date, when it was read.
    """

    finding: str
    why: str
    source: str
    date: str

    @property
    def cited(self) -> str:
        return f"{self.source}; {self.date}"


FLOAT32 = Rule(
    "float32 ops",
    "The Neural Engine computes in float16 only.",
    'coremltools guide, "Typed Execution"',
    "read 2026-12",
)
RANGED = Rule(
    "inputs of ranged length",
    "Only the default length runs on the Neural Engine.",
    "an engineer of Apple, developer.apple.com/forums/thread/724930",
    "read 2026-12",
)
ENUMERATED = Rule(
    "layer norms beside enumerated lengths",
    "Such a model left the Neural Engine, where fixed lengths stayed; --shape functions has a fixed program for each length.",
    "apple/coremltools #1909, and #2370 of lengths in turns",
    "2023-07, 2024-10",
)
LARGE_TABLE = Rule(
    "weight too large for the CoreML provider",
    f"ONNX Runtime hands Core ML no tensor with a dimension over {LARGEST_DIMENSION:,}: the lookup runs on the CPU.",
    "microsoft/onnxruntime #19543, #25421",
    "2024-02, 2025-07",
)
DYNAMIC_SHAPE = Rule(
    "input of dynamic shape",
    "NPUs take fixed sizes: Qualcomm's, by ONNX Runtime and by LiteRT, and Intel's, by OpenVINO.",
    "microsoft/onnxruntime #22439; google-ai-edge/LiteRT #9045; openvinotoolkit/openvino #29677",
    "2024-10; 2026-08; 2025-03",
)
SCALED_AT_RUN_TIME = Rule(
    "products scaled at run time",
    "They run on the CPU, by XNNPACK. An NPU takes ranges that were fixed before: --precision int8-static.",
    'LiteRT guide, "Post-training quantization"; tensorflow/tensorflow #43128',
    "read 2026-12, 2020-09",
)
GPU_REFUSES = Rule(
    "{} refused by the GPU delegate",
    "The graph is cut there, and runs on the CPU in between; a BERT with an output a token met it in #59232.",
    "tensorflow/tensorflow, lite/tools/versioning/gpu_compatibility.cc; #59232",
    "read 2026-12, 2023-01",
)
RULES = (FLOAT32, RANGED, ENUMERATED, LARGE_TABLE, DYNAMIC_SHAPE, SCALED_AT_RUN_TIME, GPU_REFUSES)


def rule_of(finding: str) -> Rule | None:
    """The rule that a count of a file stands for; None where a runtime itself decided, or it needs no source."""
    for rule in RULES:
        before, operator, after = rule.finding.partition("{}")
        if finding == rule.finding or (operator and finding.startswith(before) and finding.endswith(after)):
            return rule
    return None
