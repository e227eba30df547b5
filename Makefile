# Everything from a fresh machine: Python 3.11 and pip are enough.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: fit test test-slow docs lint types bench bench-methods bench-latency bench-static bench-bundles clean

fit: .venv/.demo
	$(BIN)/edgebert fit --device pixel6 --task ner

# With a table of the lines that the tests run. There is no threshold.
test: lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --cov --cov-report=term:skip-covered

test-slow: .venv/.test
	$(BIN)/python -m pytest -m slow

# The site in build/site; a warning ends it.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.test
	$(BIN)/mypy

bench: .venv/.test
	$(BIN)/python benchmarks/ner.py
	$(BIN)/python benchmarks/training_overhead.py
	$(BIN)/python benchmarks/conversion.py
	$(BIN)/python -m benchmarks.formats_speed
	$(BIN)/python -m benchmarks.roofline
	$(BIN)/python -m benchmarks.formats
	$(BIN)/python -m benchmarks.tasks
	$(BIN)/python -m benchmarks.reliability.tampered_bundles
	$(BIN)/python -m benchmarks.reliability.hostile
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks.reliability.fuzz_readers
	$(BIN)/python -m benchmarks.reliability.one_seed
	$(BIN)/python -m benchmarks.reliability.busy_machine
	$(BIN)/python -m benchmarks.reliability.gate_runs
	$(BIN)/python -m benchmarks.reliability.kills
	$(BIN)/python -m benchmarks.reliability.faults

bench-methods: .venv/.test
	$(BIN)/python -m benchmarks.methods
	$(BIN)/python -m benchmarks.answers
	$(BIN)/python -m benchmarks.default_recipe
	$(BIN)/python -m benchmarks.headline
	$(BIN)/python -m benchmarks.pruning

bench-bundles: .venv/.test
	$(BIN)/python -m benchmarks.bundles

bench-static: .venv/.test
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks.static_students

# With nothing else running: it compares times.
bench-latency: .venv/.test
	$(BIN)/python -m benchmarks.latency

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[demo]"
	touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[demo,test]"
	touch $@

# The reference is read from the sources, so that the site needs no more than the lightest install.
.venv/.docs: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
