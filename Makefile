# All commands of the project; `make` alone lists them. Nothing is needed but Python 3.11 or later.

# The flask command would read .env files of parent directories, gunicorn would not (AG7).
export FLASK_SKIP_DOTENV = 1
# The service's own default is false, as specified; here, in compose and in deploy/ it is on.
export FEATURE_LEDGER_ENABLED ?= true
export PYTHON

VENV = .venv/bin/python
FLASK = $(VENV) -m flask
# pytest ends with 5 where PgBouncer is not installed: no test was run.
POOLED = TEST_POOLER=pgbouncer $(VENV) -m pytest -n 2 tests/blueprints
QUICK = -m "not servers" --ignore=tests/races --ignore=tests/faults

.DEFAULT_GOAL := help
.PHONY: help run test pooler check faults legacy-tour delete-legacy restore-drill bench lock schema openapi currencies db-reset

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

run: .venv/run ## Start everything on 127.0.0.1:8000 (PORT=8001 for another); Ctrl-C stops it.
	@exec $(VENV) -m commands.serve

test: .venv/test ## Run the tests on PostgreSQL 18, those of SQL on 16, payments by PgBouncer.
	@echo "--- PostgreSQL 18"; TEST_PG_MAJOR=18 $(VENV) -m pytest -n 2; on_18=$$?; \
	echo "--- PostgreSQL 16"; TEST_PG_MAJOR=16 $(VENV) -m pytest -n 2 -m database; on_16=$$?; \
	echo "--- PgBouncer"; $(POOLED)/test_payments.py; pooled=$$?; \
	say() { case $$1 in 0) echo passed;; 5) echo "NOT RUN";; *) echo "FAILED ($$1)";; esac; }; \
	echo "--- PostgreSQL 18: $$(say $$on_18). PostgreSQL 16: $$(say $$on_16)." \
	"PgBouncer: $$(say $$pooled)."; \
	[ $$on_18 -eq 0 ] && [ $$on_16 -eq 0 ] && { [ $$pooled -eq 0 ] || [ $$pooled -eq 5 ]; }

pooler: .venv/test ## Run all tests of HTTP through a PgBouncer (Debian: apt install pgbouncer).
	$(POOLED)

check: .venv/test ## Lint, types, SQL, and the tests that need no server.
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy .
	$(VENV) -m sqlfluff lint --processes 2 sql
	$(VENV) -m pytest -n 2 $(QUICK)

faults: .venv/test ## Every fault, 1,000 rounds of each race, 200 kills each, 10,000 random commands.
	RACE_ROUNDS=1000 LEDGER_RACE_S=60 FAULT_KILLS=200 FAULT_PATIENCE_S=300 FAULT_RELOADS=20 FAULT_ROUNDS=5 \
		STATEFUL_EXAMPLES=200 STATEFUL_STEPS=50 FUZZ_BODIES=10000 FUZZ_MUTANTS=10000 \
		$(VENV) -m pytest --timeout 0 tests/races tests/faults tests/contract/test_payment_model.py \
		tests/contract/test_auth_fuzz.py tests/services/test_sessions.py tests/services/test_access_tokens.py

legacy-tour: .venv/run ## Move a small shop over, under traffic; ARGS="--crashes 20 --seed 3" breaks things.
	$(VENV) examples/legacy-shop/tour.py $(ARGS)

delete-legacy: .venv/test ## Remove the move from a legacy store once it is over, and test what is left.
	.ci/delete-legacy
	$(VENV) -m pytest -n 2 $(QUICK)

restore-drill: .venv/test ## Back up, restore to a moment, prove the books; says how long it took.
	$(VENV) -m pytest -s tests/faults/test_restore.py

bench: .venv/test ## Measure against the yardsticks; ARGS="--record" writes docs/performance.md.
	$(VENV) -m bench $(ARGS)

lock: .venv/test ## Pin requirements*.txt again, with hashes, nothing younger than a week.
	$(VENV) -m venv --clear .venv/lock && .venv/lock/bin/python -m pip install --quiet uv
	for name in requirements requirements-otel requirements-embedded requirements-dev; do \
	    .venv/lock/bin/uv pip compile --quiet --upgrade \
	    --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --exclude-newer "$$($(VENV) -c 'import datetime as d; \
	        print(d.date.today() - d.timedelta(7))')" $$name.in --output-file $$name.txt; done

schema: .venv/test ## Write sql/schema.sql from the migrations.
	$(FLASK) migrate schema

openapi: .venv/run ## Write docs/openapi.json from the routes.
	$(FLASK) openapi > docs/openapi.json

currencies: .venv/run ## Write the migration of the ISO 4217 table.
	$(FLASK) currencies sql/migrations/0003_currencies.sql

db-reset: .venv/run ## Delete the embedded database; the next start makes an empty one.
	$(FLASK) servers reset --yes

.venv/run: requirements.txt requirements-embedded.txt .ci/environment
	@.ci/environment requirements.txt && touch $@

.venv/test: requirements-dev.txt requirements-embedded.txt .ci/environment
	@.ci/environment requirements-dev.txt && touch $@ .venv/run
