# One entry for everything: `make help` lists it. Each target does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OLDEST_PIP := $(VENV)/oldest-pip
BROWSER := tests/emails/node_modules/.installed
SOURCES := service workers ledger schemas sandbox tests bench

.DEFAULT_GOAL := help
.PHONY: help setup demo test stops kills agree emails pictures bench bench-quick bench-source check format messages lock image

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) $(OLDEST_PIP) $(BROWSER)  ## install everything, from the hash-pinned locks

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Coursebell needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing Coursebell and what it needs into $(VENV); this takes about a minute."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r requirements.lock
	@$(BIN)/pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/pip --disable-pip-version-check check
	@touch $@

$(OLDEST_PIP): tests/oldest-pip.lock | $(STAMP)
	$(BIN)/pip --disable-pip-version-check install --quiet --no-deps --require-hashes --upgrade --target $@ -r $<
	@mkdir -p $@ && touch $@

$(BROWSER): tests/emails/package-lock.json tests/emails/package.json tests/emails/unpack-browser.mjs
	@npm --version >/dev/null || { echo "The check of emails needs Node.js 20 or newer, with npm."; exit 1; }
	@echo "Installing the browser that emails are checked in: 90 MB to load, about 20 seconds."
	@cd tests/emails && npm ci --loglevel=error
	@node tests/emails/unpack-browser.mjs
	@touch $@

demo: $(STAMP)  ## run the demo, with a stand-in Nexudus and a mailbox
	@exec $(BIN)/coursebell demo

# Most tests wait for other processes half of the time, so five run at once on two cores. In a new
# clone the tests are compiled once first, or each of the five would compile all of them.
test: $(STAMP) $(OLDEST_PIP) $(BROWSER)  ## run every test, on real processes
	@test -d tests/__pycache__ || PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq >/dev/null
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder

stops: $(STAMP)  ## stop and start the worker twenty times while it sends (about five minutes)
	@COURSEBELL_TEST_STOPS=20 $(BIN)/python -m pytest -q -k stopped_while_it_sends tests/e2e/test_planned_stops.py

kills: $(STAMP)  ## kill processes at random, 200 times on each engine, and count what was lost or repeated (about ten minutes)
	@$(BIN)/python -m pytest -q --numprocesses 2 tests/endurance/kills.py

COUNT ?= 100000
FIRST ?= 0
agree: $(STAMP)  ## compare the decisions with those of a second decider on 100,000 random histories (about twenty minutes)
	@PYTHONDONTWRITEBYTECODE= nice -n 10 $(BIN)/python -m tests.endurance.agree --count $(COUNT) --first $(FIRST)

emails: $(STAMP) $(BROWSER)  ## check every email and page of members in every language and paint contact-sheets/ (about ten minutes)
	@$(BIN)/python -m tests.emails

pictures: $(STAMP) $(BROWSER)  ## paint the pictures of the README
	@$(BIN)/python -m tests.emails.pictures

RUNS ?= 1
bench: $(STAMP)  ## measure speed and write docs/performance.md (about twelve minutes; RUNS=3 repeats it)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m bench --runs $(RUNS)

bench-quick: $(STAMP)  ## compare receiver and workers with the published ratios (about 90 seconds)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m bench --quick

bench-source: $(STAMP)  ## measure the requests to Nexudus (about ten minutes)
	@$(BIN)/python -m bench.source_economy
	@$(BIN)/python -m bench.baseline

check: $(STAMP)  ## format, lint, types, import order
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/mypy --explicit-package-bases tests bench
	@$(BIN)/lint-imports --no-cache

format: $(STAMP)  ## format the code
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix-only --quiet $(SOURCES)

LANGUAGE ?=
# The operators' pages: their texts in code and templates, and what they print of other modules.
PAGES := --no-default-keywords -k say -k say_n:1,2 -k _say -k _say_n:1,2 -k words -k _ -k _n:1,2 -k Explanation -k Labelled -k Lack \
  --mapping=pyproject.toml service/desk schemas/reasons.py workers/actions/base.py workers/actions/email/action.py workers/deliver/forecast.py
messages: $(STAMP)  ## collect the texts of emails and pages for translators (LANGUAGE=fi adds one)
	@$(BIN)/pybabel -q extract --no-default-keywords -k gettext -k ngettext:1,2 -k phrase -k plural:1,2 --no-wrap \
	  --add-location=file --project=Coursebell --copyright-holder="The Coursebell authors" -o workers/locales/coursebell.pot workers service
	@test -z "$(LANGUAGE)" || $(BIN)/pybabel -q init -D coursebell -i workers/locales/coursebell.pot -d workers/locales -l $(LANGUAGE)
	@$(BIN)/pybabel -q update -D coursebell -i workers/locales/coursebell.pot -d workers/locales --no-fuzzy-matching --no-wrap --ignore-pot-creation-date
	@$(BIN)/pybabel -q extract $(PAGES) --no-wrap --add-location=file --project=Coursebell --copyright-holder="The Coursebell authors" \
	  -o service/desk/locales/desk.pot
	@$(BIN)/pybabel -q update -D desk -i service/desk/locales/desk.pot -d service/desk/locales --no-fuzzy-matching --no-wrap --ignore-pot-creation-date --ignore-obsolete

lock:  ## renew the lock files (maintainers; needs uv)
	cd tests/emails && npm install --package-lock-only
	@# npm also copies where each package asks for donations; a lock file names no address.
	cd tests/emails && node -e 'const fs = require("fs"), name = "package-lock.json", lock = JSON.parse(fs.readFileSync(name)); for (const one of Object.values(lock.packages)) delete one.funding; fs.writeFileSync(name, JSON.stringify(lock, null, 2) + "\n")'
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --no-strip-extras --quiet --extra broker --extra certificate --extra dkim --extra oidc --extra sandbox --extra dev -o requirements.lock pyproject.toml deploy/build.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --no-strip-extras --quiet --extra broker --extra certificate --extra dkim --extra oidc --extra sandbox -o deploy/requirements.lock pyproject.toml deploy/build.in

image:  ## build the container image without a registry, and try it (needs root, buildah, debootstrap)
	@deploy/try-image.sh
