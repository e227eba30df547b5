"""Fit the demo model for a Pixel 6 and read a sentence with it.

python examples/fit_and_predict.py
"""

from __future__ import annotations

from typing import Any

import edgebert

TEXT = "show me flights from boston to denver on monday"


def main(device: str = "pixel6", task: str = "ner", text: str = TEXT, **options: Any) -> list[Any]:
    """Fits a model, prints what each file of it scores and weighs, and gives the packaged one's answers to the text.

    Args:
        options: what `edgebert.fit` takes beside device and task, such as `teacher` and `data`.
    """
    result = edgebert.fit(device, task, on_event=lambda event: print(event["event"], end=" ", flush=True), **options)
    print()
    for student in result.report.students:
        for file in student.artifacts:
            score, size = file.parity.score, file.artifact.size_bytes
            print(student.name, file.artifact.format, file.artifact.precision, f"{100 * score.value:.2f}", size)
    return edgebert.predict(result.run, [text]) if result.bundle else []


if __name__ == "__main__":
    print(main())
