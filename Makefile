# Laurel's verbs. The first one makes .venv from requirements.lock; after that nothing needs the network.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test key lint up down status lock reset clean venv

BIN := .venv/bin
comma := ,
UV := uv==0.13.8

# Where it is set, every process compiles all that it imports, each time: seconds for each flow run.
unexport PYTHONDONTWRITEBYTECODE

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: venv ## The whole loop on real flights; leaves the stack up (KEEP=0: stops it)
	@$(BIN)/python -m deployments.demo $(if $(filter 0,$(KEEP)),--down)

test: venv ## All tests, on real servers (ARGS='-k ports': some)
	@$(BIN)/pytest $(ARGS)

key: venv ## An API key of the service, shown once (NAME=web SCOPES=predict,feedback)
	@$(BIN)/python -m serving.keys add "$(or $(NAME),$(error NAME is missing: make key NAME=web SCOPES=predict,feedback))" \
	  $(foreach scope,$(subst $(comma), ,$(or $(SCOPES),predict)),--scope $(scope))

lint: venv ## ruff, mypy and the import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

up: venv ## Start Prefect, SeaweedFS, MLflow, the service and a worker, and apply the deployments
	@$(BIN)/python -m deployments.local up
	@$(BIN)/python -m deployments.apply

down: venv ## Stop all of them
	@$(BIN)/python -m deployments.local down

status: venv ## What runs, where, with how much memory
	@$(BIN)/python -m deployments.local status || true

lock: venv ## Pin pyproject.toml's dependencies anew (UPGRADE=1: to the newest)
	@$(BIN)/uv pip compile --quiet --universal --no-emit-index-url --no-header --extra dev --python-version 3.11 \
	  $(if $(UPGRADE),--upgrade) --output-file requirements.lock pyproject.toml
	@git diff --stat requirements.lock

reset: ## Stop the stack and forget all that it holds
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m deployments.local down; fi
	@if [ -n "$$LAUREL_STATE" ]; then echo "LAUREL_STATE is set: remove $$LAUREL_STATE yourself."; else rm -rf .laurel; fi

clean: ## Stop the stack, remove .venv and the caches; .laurel stays
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m deployments.local down; fi
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp holds the lock's digest and this folder's path: a virtual environment that was moved or is behind is made anew.
venv:
	@stamp="$$(cksum < requirements.lock) $(CURDIR)"; \
	if [ "$$(cat .venv/stamp 2>/dev/null)" = "$$stamp" ] && $(BIN)/python -c '' 2>/dev/null; then exit 0; fi; \
	set -e; \
	for python in python3 python3.13 python3.12 python3.11 python3.14 none; do \
	  if [ $$python = none ]; then \
	    echo "Laurel needs Python 3.11 or newer; 'python3' here is: $$(python3 --version 2>&1). Install one and try again." >&2; exit 1; fi; \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	done; \
	echo "Installing the pinned packages into .venv (once)..."; \
	case "$$(cat .venv/stamp 2>/dev/null)" in "" | *" $(CURDIR)") ;; *) rm -rf .venv ;; esac; \
	rm -f .venv/stamp; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $$python -m venv .venv \
	  || { echo "Could not make .venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check '$(UV)'; \
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock; \
	echo "$$stamp" > .venv/stamp
