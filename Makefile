# Everything from a fresh clone: `make demo` (environment, samples, the main job) and `make test`.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: install demo check test bench services faults certificates sbom audit clean

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

# Two at a time, a file each: many tests wait for servers and workers of their own.
test: check
	pytest -n 2 --dist loadfile --no-loadscope-reorder

certificates:
	docs/clusters/certificates.sh certificates

bench: $(READY)
	python -m benchmarks

# What is installed, for whoever has to know: CycloneDX, the same for the same environment.
sbom: $(READY)
	mkdir -p build
	cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file build/sbom.cdx.json \
		$(BIN)/python

# Known vulnerabilities of what is installed. Asks a service: not a part of `check`, which needs no network.
ADVISORIES := https://api.osv.dev
audit: $(READY)
	@if python -c "import httpx; httpx.get('$(ADVISORIES)', timeout=15)" 2>/dev/null; \
	then pip-audit --vulnerability-service osv --skip-editable --progress-spinner off; \
	else echo "audit: skipped, $(ADVISORIES) cannot be reached from here"; fi

# Minutes: batches on a server with a worker, overtaken and cancelled, and its pages in a browser. Beyond what CI has time for.
services: $(READY)
	SWATHE_TEST_SERVICES=1 pytest tests/test_batches.py

# Hours. PostgreSQL and root for all rows; FAULTS names some: make faults FAULTS="flow scheduler --times 3".
faults: $(READY)
	cd tests && python -m faults $(FAULTS)

clean:
	rm -rf demo-out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
