# make run    set up .venv and run the built-in default: real images, offline, a report at the end
# make test   set up, then every check: lint, format, types, import contracts, all tests
# make setup  only set up .venv for use (requirements.lock); GPU=1: with the Faiss for NVIDIA GPUs (requirements-gpu.txt),
#             which then stays: GPU=0 goes back
# make lock   renew the locks from requirements.txt and requirements-dev.txt (needs uv)
# make clean  remove .venv, the cache and what tools left behind; outputs and data stay

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The first Python on this machine that is 3.11, 3.12 or 3.13; say PYTHON=... to choose another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; \
	then echo $$p; break; fi; done)

# Of the two Faiss one is installed, never both: they share a folder. What was asked for last stays.
GPU ?= $(if $(wildcard $(VENV)/.installed-gpu),1,0)
ifeq ($(GPU),1)
INSTALLED := $(VENV)/.installed-gpu
REQUIREMENTS := requirements-gpu.txt
OTHER_FAISS := faiss-cpu
else
INSTALLED := $(VENV)/.installed
REQUIREMENTS := requirements.lock
OTHER_FAISS := faiss-gpu
endif

.PHONY: run test setup setup-dev lock clean

run: setup
	@$(BIN)/python run.py

test: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "slow or not slow" -n auto --dist worksteal

setup: $(INSTALLED)

setup-dev: $(VENV)/.installed-dev

$(INSTALLED): requirements.lock $(REQUIREMENTS)
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "setting up $(VENV) with $(PYTHON): a minute or two, 7 GB"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP:install=uninstall) --yes $(OTHER_FAISS) 2>/dev/null
	@rm -f $(VENV)/.installed*
	@$(PIP) -r $(REQUIREMENTS)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(INSTALLED)
	@$(PIP) -r $(REQUIREMENTS) -r requirements-dev.lock
	@touch $@

lock:
	MACOSX_DEPLOYMENT_TARGET=14.0 uv pip compile --universal --python-version 3.11 --no-header --no-emit-index-url \
		--upgrade requirements.txt -o requirements.lock
	MACOSX_DEPLOYMENT_TARGET=14.0 uv pip compile --universal --python-version 3.11 --no-header --no-emit-index-url \
		--upgrade requirements-dev.txt -o requirements-dev.lock

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
