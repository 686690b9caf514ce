# make demo   see it work: a virtual environment, an installation, the main job
# make test   every test
# make check  lint, types and the direction of imports
# make clean  remove what these made

VENV ?= .venv
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# The first that runs and is new enough; look only when an environment has to be made.
FIND_PYTHON = for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo "$$name" && break; done
PYTEST_OPTIONS ?=
SOURCES := pyproject.toml

.PHONY: demo test check clean

demo: $(VENV)/.installed
	@$(VENV)/bin/jobledger demo

test: $(VENV)/.installed-for-tests
	$(VENV)/bin/python -m pytest $(PYTEST_OPTIONS)

check: $(VENV)/.installed-for-tests
	BIN=$(abspath $(VENV))/bin .ci/checks

$(VENV)/bin/python:
	@python="$$($(FIND_PYTHON))"; \
	test -n "$$python" || { echo "jobledger needs Python 3.11 or newer: install it, or name it with make PYTHON=…"; exit 1; }; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); \
	echo "no virtual environment could be made: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }

$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)
	@echo "installing jobledger into $(VENV)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-for-tests: $(VENV)/bin/python $(SOURCES)
	@echo "installing jobledger and its tests' tools into $(VENV)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
