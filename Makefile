# Everything from a fresh clone: `make demo` (environment, samples, the main job) and `make test`.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: install demo check test bench clean

install: $(READY)

$(READY): pyproject.toml constraints.txt overrides.txt
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --override overrides.txt \
		--editable ".[dev]"
	touch $(READY)

demo: $(READY)
	swathe demo --out demo-out

check: $(READY)
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test: check
	pytest

bench: $(READY)
	python -m benchmarks

clean:
	rm -rf demo-out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
