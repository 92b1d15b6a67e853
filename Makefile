# MediAssist: `make help` lists what can be done. Nothing here needs a token or an account.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
PORT ?= 8501
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
FOLDERS := 1_data:2_finetune:3_rag:4_evaluate:5_database:6_ui
.DEFAULT_GOAL := help
.PHONY: help run setup setup-dev index models test soak lint scorecard bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "  PORT=8600 changes the chat's port; ARGS='-k triage' passes through to pytest; PYTHON=python3.12 names the Python to use"

run: setup ## set up, build the index, and open the chat at http://localhost:8501 (PORT=)
	@$(BIN)/python 7_deploy/preflight.py --port $(PORT)
	@$(BIN)/python 3_rag/fetch_models.py --once
	@$(BIN)/python 3_rag/index.py
	@echo "The chat is at http://localhost:$(PORT)  (Ctrl-C stops it)"
	@PYTHONPATH=$(FOLDERS) $(BIN)/streamlit run 6_ui/app.py --server.port $(PORT)

setup: $(VENV)/.installed ## create .venv and install what the program needs

$(VENV)/.installed: requirements.txt constraints.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "No Python found. Install Python 3.11 or 3.12 and run make again."; exit 2; fi
	@"$(PYTHON)" 7_deploy/preflight.py --python --disk .
	@"$(PYTHON)" -m venv $(VENV)
	@echo "Installing (about 2.5 GB, a few minutes the first time) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup-dev: $(VENV)/.installed-dev ## also what tests need, a browser included
	@$(BIN)/python tests/browser.py --install

index: setup ## build the search index (unchanged documents are not embedded again)
	@$(BIN)/python 3_rag/index.py $(ARGS)

models: setup ## bring the full tier of models from the Hugging Face Hub
	@$(BIN)/python 3_rag/fetch_models.py

lint: $(VENV)/.installed-dev ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test: setup-dev lint ## ruff, mypy --strict, and every test but those marked soak (ARGS=)
	@$(BIN)/pytest -m "not soak" $(ARGS)

soak: setup-dev ## the long tests: many kills, big data
	@$(BIN)/pytest -m soak $(ARGS)

scorecard: setup-dev ## measure quality; prints the README's table
	@$(BIN)/python 3_rag/index.py
	@$(BIN)/python 4_evaluate/scorecard.py $(ARGS)

bench: setup-dev ## measure speed, as ratios within one run
	@$(BIN)/python 4_evaluate/benchmark.py $(ARGS)

clean: ## remove the virtual environment and the index (not the log)
	@rm -rf $(VENV) 3_rag/chroma_db .mypy_cache .ruff_cache .pytest_cache
