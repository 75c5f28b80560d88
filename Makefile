# Everything a contributor needs. `make demo` and `make test` set up what is missing by themselves.
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo serve example test test-full lint bench lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: requirements/run.txt pyproject.toml
	@tools/venv.sh $(VENV) requirements/run.txt

.PHONY: dev
dev:
	@tools/venv.sh $(VENV) requirements/dev.txt

demo: $(VENV)/.installed ## A living sample company; ARGS=--once prints a month of invoices and ends
	@$(BIN)/taximeter demo $(ARGS)

serve: $(VENV)/.installed ## One node on ./taximeter-data, no key needed from this machine
	@$(BIN)/taximeter serve --dev $(ARGS)

example: dev ## The streaming chat on http://127.0.0.1:8000; wants `make serve` beside it
	@PYTHONPATH=sdk/src $(BIN)/python examples/streaming_chat/app.py $(ARGS)

test: dev ## Every test, in parallel
	@tools/chromium.sh
	@$(BIN)/python -m pytest -n auto --dist worksteal -q -m "not full" $(ARGS)

test-full: dev ## The long programme: hundreds of kills, more examples, every zone
	@tools/chromium.sh
	@TAXIMETER_TEST_FULL=1 $(BIN)/python -m pytest -n auto --dist worksteal -q $(ARGS)

lint: dev ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: dev ## Measure this machine; writes benchmarks/results
	@tools/venv.sh .venv-bench requirements/bench.txt
	@.venv-bench/bin/python -m benchmarks $(ARGS)

lock: dev ## Pin all dependencies again, with hashes
	@tools/lock.sh

clean: ## Remove what the other targets made
	rm -rf $(VENV) .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
