# Every target says what it does in `make help`. Nothing here needs more than git, make, python3 and root.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
SOURCES := deployments nodeagent registry providers agents timeline sam_project scripts tests
# Checks read settings, and none of them opens a connection: these values are never used.
CHECK_ENV := SAM_SETTINGS_FILE=/dev/null SAM_SECRET_KEY=checks-only-0123456789-0123456789-0123456789-0123456789 \
	SAM_KEK=Y2hlY2tzLW9ubHktY2hlY2tzLW9ubHktY2hlY2tzLW8= DJANGO_SETTINGS_MODULE=sam_project.settings

.PHONY: help
help: ## Tell what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: ## Start everything, deploy a sample app through the public API, stay (EXIT=1: stop after the app answered)
	@exec scripts/up.sh $(if $(EXIT),--exit)

.PHONY: down
down: ## Stop what `make up` started; data stays in .sam/
	@[ ! -x $(BIN)/python ] || exec $(BIN)/python -m scripts.down

.PHONY: clean-data
clean-data: ## Stop, and remove .sam/ with all that was stored
	@[ ! -x $(BIN)/python ] || exec $(BIN)/python -m scripts.down --clean-data

.PHONY: install
install: ## Install by name what this machine lacks (as root)
	@scripts/install.sh

.PHONY: setup
setup: ## Make .venv from the hash-pinned requirements
	@scripts/setup.sh

.PHONY: test
test: ## Run every test, against real PostgreSQL, Redis, registry and Docker (ARGS="-k name" for some)
	@scripts/install.sh --tests
	@scripts/setup.sh
	@exec $(BIN)/python -m pytest $(ARGS)

.PHONY: bench
bench: ## Run the benchmarks beside their baselines; prints ratios, writes JSON
	@scripts/install.sh
	@scripts/setup.sh
	@exec $(BIN)/python -m tests.bench $(ARGS)

.PHONY: vm-demo
vm-demo: ## The whole path on a virtual machine that boots itself, and what its data survives (as root, ten minutes)
	@scripts/install.sh --machines
	@scripts/setup.sh
	@exec $(BIN)/python -m scripts.vm.demo $(ARGS)

.PHONY: vm-bench
vm-bench: ## From asking for a machine to an enrolled node, beside the barest machine that calls home (as root)
	@scripts/install.sh --machines
	@scripts/setup.sh
	@exec $(BIN)/python -m scripts.vm.bench $(ARGS)

.PHONY: nightly
nightly: ## What is too long for each run: 200,000 inputs by the mutator and 20,000 by Hypothesis at the Compose door
	@scripts/setup.sh
	@SAM_FUZZ_INPUTS=200000 SAM_FUZZ_EXAMPLES=20000 SAM_FUZZ_SEED=$$(date +%j) \
		$(BIN)/python -m pytest -q --timeout 3600 tests/unit/domain/test_hostile.py $(ARGS)

.PHONY: golden
golden: ## Write the golden files anew; look at the difference before you commit it
	@scripts/setup.sh
	@SAM_WRITE_GOLDEN=1 $(BIN)/python -m pytest -q -k golden $(ARGS)

.PHONY: check
check: install setup lint types layers migrations deploy-check schema audit ## Everything that needs no service: run before a push

.PHONY: lint
lint: ## Style and likely bugs (ruff), and the format
	@$(BIN)/ruff check $(SOURCES) manage.py
	@$(BIN)/ruff format --check $(SOURCES) manage.py

.PHONY: fmt
fmt: ## Format, and fix what can be fixed
	@$(BIN)/ruff check --fix --exit-zero $(SOURCES) manage.py
	@$(BIN)/ruff format $(SOURCES) manage.py

.PHONY: types
types: ## Types (mypy; strict for domain, wire, services)
	@$(CHECK_ENV) $(BIN)/mypy

.PHONY: layers
layers: ## Who may import whom (import-linter)
	@$(CHECK_ENV) $(BIN)/lint-imports

.PHONY: migrations
migrations: ## No model change without its migration, and none that would lock or break a running version
	@$(CHECK_ENV) $(BIN)/python -m scripts.migrations

.PHONY: deploy-check
deploy-check: ## Django's own check of the settings, as for a public address
	@$(CHECK_ENV) SAM_PUBLIC_URL=https://sam.example SAM_REGISTRY_URL=https://registry.example \
		$(BIN)/python -W error manage.py check --deploy --fail-level WARNING

.PHONY: schema
schema: ## The REST API's OpenAPI document is valid and complete
	@$(CHECK_ENV) $(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null

.PHONY: audit
audit: ## Known vulnerabilities of the pinned packages; says so where it cannot ask
	@$(BIN)/python -m scripts.audit

.PHONY: docs
docs: ## Write the pages that are made from the code
	@$(CHECK_ENV) $(BIN)/python -m scripts.state_machines

.PHONY: requirements
requirements: ## Pin requirements/*.in anew, with hashes (ARGS=--upgrade for newer versions)
	@scripts/pin.sh $(ARGS)
