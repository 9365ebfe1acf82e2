# make app: install and start the explorer (APP="--port 8600" for flags).  make test: install and run the fast tests.  make check: lint, format and types.
# make test-slow: the tests on real weights.  make test-run: of those, the ones of units, and the whole command
# on the samples.
# make test-readers: exports, opened by the libraries that people read them with; these have an environment of their
# own, .venv/readers, of about 8 GB.
# make faults: odd input of every kind, for ten minutes.  make fuzz: inputs that a fuzzer finds, for
# two minutes a target, where there is a wheel of atheris.
# make bench: the benchmarks (a VOC folder with ground truth in DATA).  make docs-settings: docs/settings.md anew.
# make docs: the documentation as pages in site/, in an environment of its own.
# Everything lives in .venv.

PYTHON ?= python3
DATA ?= ../shared/data/msrc
NUM_CLASSES ?= 14
APP ?=
FUZZ ?= --seconds 120
VENV := .venv
BIN := $(VENV)/bin

.PHONY: audit app dist test test-oldest test-slow test-run test-browser test-readers check check-js format docs docs-settings bench faults fuzz install install-dev clean

app: install
	$(BIN)/maskdistill app $(APP)

test: install-dev
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: install-dev
	$(BIN)/python -m pytest -m slow

test-run: install-dev
	$(BIN)/python -m pytest -m slow -n auto --dist loadfile --no-loadscope-reorder \
		tests/slow/test_whole_run.py::test_samples_go_all_the_way tests/unit \
		-k "not published_models and not two_workers and not a_launcher and not same_weights_as_without"  # too long

test-browser: install-dev
	$(BIN)/python -m pytest -m browser -n 2 --dist loadfile tests/browser

# One that cannot be installed is left out; its tests then say so.
test-readers: install-dev $(VENV)/readers/.installed
	$(BIN)/python -m pytest -m slow tests/slow/test_readers.py

check: install-dev check-js
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# The scripts of the app need no build; node only lints, formats and tests them, where it is there.
check-js:
	@if command -v npm >/dev/null; then npm ci --silent --ignore-scripts && npm run --silent check && npm test --silent; \
		else echo "no npm: the scripts of the app are not checked"; fi

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	if command -v npm >/dev/null; then npm ci --silent --ignore-scripts && npm run --silent format; fi

# Stops at any warning: a link that leads nowhere, a parameter that a docstring names and the function lacks. The pages
# load nothing from elsewhere; their search needs them served: python3 -m http.server --directory site
docs: $(VENV)-docs/.installed
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(VENV)-docs/bin/mkdocs build --quiet --strict
	@! grep -rnoE '<(script|link|img|iframe)[^>]+(src|href)="?(https?:)?//[^"> ]*' site --include='*.html'
	@! grep -rnoE '(@import|url\()[ "'"'"']*(https?:)?//[^)]*' site --include='*.css'

docs-settings: install
	$(BIN)/python -m maskdistill.cli.settings_help > docs/settings.md

# The fast tests with the oldest libraries that pyproject.toml allows, in an environment of their own.
OLDEST := .venv-oldest
test-oldest:
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install -q "uv>=0.9,<1"
	$(OLDEST)/bin/uv pip compile -q --resolution lowest-direct --extra crf --extra auth \
		--python $(OLDEST)/bin/python pyproject.toml -o $(OLDEST)/oldest.txt
	sed '/^-/d' requirements-dev.txt > $(OLDEST)/test.txt
	$(OLDEST)/bin/uv pip install -q --python $(OLDEST)/bin/python -r $(OLDEST)/oldest.txt
	$(OLDEST)/bin/uv pip install -q --python $(OLDEST)/bin/python -c $(OLDEST)/oldest.txt -r $(OLDEST)/test.txt
	$(OLDEST)/bin/uv pip install -q --python $(OLDEST)/bin/python --no-deps -e .
	$(OLDEST)/bin/python -m pytest -n auto --dist loadfile

# A source archive, and the wheel that is built from it, into dist/.
dist: install-dev
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

bench: install-dev
	$(BIN)/python -m benchmarks.masks --data $(DATA)
	$(BIN)/python -m benchmarks.speed --data $(DATA)
	$(BIN)/python -m benchmarks.pages
	$(BIN)/python -m benchmarks.busy
	$(BIN)/python -m benchmarks.class_run
	$(BIN)/python -m benchmarks.filter
	$(BIN)/python -m benchmarks.repair --data $(DATA)
	$(BIN)/python -m benchmarks.quality --data $(DATA) --num-classes $(NUM_CLASSES) --probe
	$(BIN)/python -m benchmarks.kills --data $(DATA) --num-classes $(NUM_CLASSES)

faults: install-dev
	$(BIN)/python -m benchmarks.faults --docs docs/faults.md

fuzz: install-dev
	-$(BIN)/python -m pip install -q -r requirements-fuzz.txt
	$(BIN)/python -m benchmarks.fuzz $(FUZZ)

# Known holes of what is installed, and its licences: none that binds what is built on it, none unknown (SECURITY.md).
audit: install-dev
	$(BIN)/python -m pip install -q "pip-audit>=2.9,<3" "pip-licenses>=5,<6"
	$(BIN)/pip-audit --local --progress-spinner off
	$(BIN)/pip-licenses --from=mixed --partial-match --fail-on "GPL;GNU General;Affero;SSPL;UNKNOWN" \
		--ignore-packages maskdistill atheris cuda-toolkit

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

# uv installs in a fifth of pip's time; where it cannot (a registry that it does not know), pip does.
install_into = sh -c '$(BIN)/uv pip install -q --compile-bytecode --python $(1) "$$@" || $(1) -m pip install -q "$$@"' install
INSTALL = $(call install_into,$(BIN)/python)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, this is {v[0]}.{v[1]}. Set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q "uv>=0.9,<1"

# A machine without a C++ compiler cannot build pydensecrf2: everything but the CRF then runs.
$(VENV)/.installed: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(INSTALL) -r requirements.txt \
		|| ( echo "Trying again without pydensecrf2 (it needs a C++ compiler); the CRF will be off." \
		     && $(INSTALL) -e . )
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	sed '/^-r /d' requirements-dev.txt > $(VENV)/requirements-test.txt
	$(INSTALL) -r $(VENV)/requirements-test.txt
	touch $@

READER = $(call install_into,$(VENV)/readers/bin/python)
$(VENV)/readers/.installed: requirements-readers.txt
	$(PYTHON) -m venv $(VENV)/readers
	$(READER) -r requirements-readers.txt || \
		grep -v '^#' requirements-readers.txt | while read -r reader; do \
			$(READER) "$$reader" || echo "$$reader cannot be installed here."; done
	touch $@

$(VENV)-docs/.installed: requirements-docs.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-docs
	$(call install_into,$(VENV)-docs/bin/python) -r requirements-docs.txt
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) $(VENV)-docs dist site .pytest_cache .ruff_cache .mypy_cache *.egg-info
