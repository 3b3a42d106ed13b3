# The commands that people and CI use. Each prints what it does; a repeated one does only what is missing.

CARGO ?= cargo
TESTKIT = $(CARGO) run --quiet --bin testkit --

.DEFAULT_GOAL := help
.PHONY: help demo up down status test fuzz crash mutants lint bench assets setup

help: ## Show this list
	@awk -F ': [^#]*## ' '/^[a-z]+: .*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## Watch three environments come up from YAML, a migration travel through them, and one go away
	@$(CARGO) build
	@$(TESTKIT) demo

up: setup ## Start control plane, emulator and operator and leave them running; then `. .run/env`
	@$(CARGO) build
	@$(TESTKIT) up

down: ## End what `make up` has started
	@$(TESTKIT) down

status: ## Tell what of `make up` is running
	@$(TESTKIT) status || true

test: assets ## Run all tests
	@.ci/setup tests
	@.ci/test

fuzz: ## Try 100,000 pairs of faults in the simulated world, then broken files for 10 minutes (PAIRS=n, MINUTES=n, SEED=first)
	@PAIRS=$${PAIRS:-100000} $(CARGO) test --test simulation pairs_of_faults -- --nocapture
	@MINUTES=$${MINUTES:-10} $(CARGO) test --package sepulki --lib no_file_breaks_the_compiler -- --nocapture

crash: ## Kill migration runs and their servers, at least 200 times on each of two versions (KILLS=260)
	@KILLS=$${KILLS:-260} $(CARGO) test --test engine_kills -- --nocapture

mutants: ## Change what decides in every way that no test should let through, for hours (FILES=, SHARD=0/8, SINCE=commit, JOBS=2)
	@.ci/mutants

lint: ## Check formatting, lints, documentation and dependencies
	@.ci/lint

bench: ## Run the benchmarks, beside other tools where they can be installed
	@.ci/setup bench
	@.ci/peers
	@$(CARGO) bench --workspace

assets: setup ## Build the control plane's programs (about 5 minutes, once)
	@$(TESTKIT) assets

setup: # what is missing on this machine
	@.ci/setup
