# Everything from a fresh clone: `make demo` (environment, samples, the main job) and `make test`.
# Two environments: what users run has no development tool in it, because libraries import some of those where they
# find them, and every command would wait for that.
VENV := .venv
DEV := .venv-dev
READY := $(DEV)/.ready
export PATH := $(CURDIR)/$(DEV)/bin:$(PATH)

# `docs` is a folder as well.
.PHONY: install demo check docs test bench services faults signals reports slow certificates sbom audit clean

install: $(VENV)/.ready

$(READY): EXTRAS := [dev]
# Without bytecode each process compiles torch, MONAI and Prefect anew, which is half of the time of a small run.
$(VENV)/.ready $(READY): pyproject.toml constraints.txt overrides.txt
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(@D)/bin/uv pip install --quiet --compile-bytecode --python $(@D)/bin/python \
		--constraint constraints.txt --override overrides.txt --editable ".$(EXTRAS)"
	PYTHONDONTWRITEBYTECODE= $(@D)/bin/python -m compileall -q flows tasks models
	touch $@

demo: export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
demo: $(VENV)/.ready
	swathe demo --out demo-out

check: $(READY) docs
	ruff check .
	ruff format --check .
	mypy
	lint-imports

# The site, in build/site; links, anchors and the reference made from the code are checked with it.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

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
		$(DEV)/bin/python

# Known vulnerabilities of what is installed. Asks a service: not a part of `check`, which needs no network.
ADVISORIES := https://api.osv.dev
audit: $(READY)
	@if python -c "import httpx; httpx.get('$(ADVISORIES)', timeout=15)" 2>/dev/null; \
	then pip-audit --vulnerability-service osv --skip-editable --progress-spinner off; \
	else echo "audit: skipped, $(ADVISORIES) cannot be reached from here"; fi

# Minutes: batches on a server with a worker, overtaken and cancelled, and its pages in a browser. Beyond what CI has time for.
services: $(READY)
	SWATHE_TEST_SERVICES=1 pytest tests/server/test_batches.py

# Hours. PostgreSQL and root for all rows; FAULTS names some: make faults FAULTS="flow scheduler --times 3".
faults: $(READY)
	cd tests/helpers && python -m faults $(FAULTS)

# An hour: cases made after public reports, by the command line; the table of docs/numbers.md.
reports: $(READY)
	mkdir -p build
	cd tests/helpers && python -m reported --file ../../build/reports.jsonl --page ../../docs/numbers.md $(REPORTS)

# An hour or two: signals at every stage of a run. What the file tells of rows that went well is not done again.
signals: $(READY)
	mkdir -p build
	cd tests/helpers && python -m signalled --file ../../build/signals.jsonl $(SIGNALS)

# What is too long for CI: tests marked slow, walkthroughs with the lines that segment, and signals, which go on where they
# were stopped.
slow: signals services
	SWATHE_TEST_SLOW=1 pytest -n 2 --dist loadfile -m slow
	SWATHE_TEST_SLOW=1 pytest tests/docs/test_walkthroughs.py

clean:
	rm -rf demo-out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
