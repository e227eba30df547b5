"""Fit the demo model for a Pixel 6 and read a sentence with it.

python examples/fit_and_predict.py
"""

import edgebert

result = edgebert.fit(device="pixel6", task="ner", on_event=lambda event: print(event["event"], end=" ", flush=True))
print()
for student in result.report.students:
    for file in student.artifacts:
        print(student.name, file.artifact.precision, f"{100 * file.parity.score.value:.2f}", file.artifact.size_bytes)
if result.bundle:
    print(edgebert.predict(result.run, ["show me flights from boston to denver on monday"]))
