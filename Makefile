# Every target sets up what it needs in .venv; `make` alone lists them.
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: $(shell sed -nE 's/^([a-z-]+):.*## .*/\1/p' $(MAKEFILE_LIST))

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(SETUP): pyproject.toml setup.py $(wildcard features/native/* models/native/*) profiler/pyproject.toml profiler/setup.py $(wildcard profiler/native/*) constraints.txt
	$(PY) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet -c constraints.txt -e ./profiler -e '.[dev]'
	@touch $@

setup: $(SETUP) ## make the virtual environment

demo: $(SETUP) ## run the main job: profile a real service, train, detect, price
	$(BIN)/metercast demo

test: $(SETUP) ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(SETUP) ## check style, types, the directions of imports, and security
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --severity-level medium -r features models training serving profiler/metercast

audit: $(SETUP) ## known vulnerabilities of what is installed; asks PyPI
	$(BIN)/pip install --quiet pip-audit
	$(BIN)/pip-audit --skip-editable

format: $(SETUP) ## put the code into its one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

serve: $(SETUP) ## start API, engine and dashboard
	$(BIN)/metercast serve

notebooks: $(SETUP) ## execute the notebooks
	$(BIN)/python -m pytest tests/notebooks

bench: $(SETUP) ## cost of recording, ingest and engine, as ratios in one run
	$(BIN)/python tests/benchmarks/recording.py
	$(BIN)/python tests/benchmarks/service.py
	$(BIN)/python tests/benchmarks/shipping.py
	$(BIN)/python tests/benchmarks/ingest.py

bench-profiler: $(SETUP) ## cost of the profiler beside OpenTelemetry, yappi, viztracer, scalene, as ratios in one run
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python tests/benchmarks/recording.py
	$(BIN)/python tests/benchmarks/service.py

bench-ingest: $(SETUP) ## events a CPU-second over HTTP: bodies decoded, and acknowledged after fsync
	$(BIN)/python tests/benchmarks/ingest.py

chaos: $(SETUP) ## kill API, engine, client and database a thousand times, half on SQLite, half on PostgreSQL
	METERCAST_KILLS=$${METERCAST_KILLS:-1000} $(BIN)/python -m pytest tests/serving/test_crash.py --timeout=0 -s

chaos-profiler: $(SETUP) ## the profiler against failing servers and disks, SIGKILL and fork storms, for long
	METERCAST_CHAOS_SCALE=$${METERCAST_CHAOS_SCALE:-10} $(BIN)/python -m pytest tests/profiler/chaos --timeout=3600

bench-api: $(SETUP) ## how quick the API answers, 1,000 users and a year of hours
	$(BIN)/python tests/benchmarks/api.py

bench-engine: $(SETUP) ## the engine beside Polars, DuckDB, pandas and River: 10 million events, 16,000 series
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python tests/benchmarks/engine.py

bench-history: $(SETUP) ## month to date and audit over 50 million events of history
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python tests/benchmarks/history.py

screenshots: $(SETUP) ## pictures of the dashboard for docs/, from a run of the demo
	$(BIN)/python tests/screenshots.py

bench-pricing: $(SETUP) ## rating and priced paths a second, beside plain Decimal and floats
	$(BIN)/python tests/benchmarks/pricing.py

bench-estimates: $(SETUP) ## estimates of the bill in money beside run rate, last period, regression and ARIMA
	$(BIN)/python tests/benchmarks/estimates.py

bench-demand: $(SETUP) ## the demand controller, revenue and bills on real load
	$(BIN)/python tests/benchmarks/demand.py

bench-forecast: $(SETUP) ## backtests of all models on the data beside the project; goes on where it stood
	$(BIN)/python tests/benchmarks/forecast.py

bench-inference: $(SETUP) ## CPU seconds of a forecast of 1,000 series a week ahead, and of one user's bill
	$(BIN)/python tests/benchmarks/inference.py

bench-anomaly: $(SETUP) ## detector scores on the data beside the project
	$(BIN)/python tests/benchmarks/anomaly.py
	$(BIN)/python tests/benchmarks/anomaly_margins.py
	$(BIN)/python tests/benchmarks/detection.py

bench-injection: $(SETUP) ## money of injected faults found within an hour, and false pages, in recorded usage
	$(BIN)/python -m tests.benchmarks.injection --pages

tune-smoke: $(SETUP) ## a study of 20 trials on the data beside the project
	$(BIN)/metercast tune configs/tune/smoke.yaml --task $${METERCAST_BENCH:-../shared/bench}/forecast/C.parquet --data metercast-data

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
