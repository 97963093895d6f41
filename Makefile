# The front door. `make` alone says what there is.
PRESET ?= dev
BUILD := build/$(PRESET)
JOBS ?= $(shell nproc)
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help setup configure build can-demo demo test unit fuzz bench format lint clean
help:
	@echo 'make demo          one trace of a real Go service, from nothing (Ctrl-C ends it; ONESHOT=1 exits by itself)'
	@echo 'make build         sonded, sonde-agent and sonde, in $(BUILD)'
	@echo 'make test          everything: unit, tidy, postgres, kernel, e2e, fuzz; ends with a count'
	@echo 'make unit          the unit tests alone; under a sanitizer with PRESET=asan or PRESET=tsan'
	@echo 'make fuzz          every fuzz target for a minute; FUZZ_SECONDS=N for longer'
	@echo 'make bench         what tracing costs, as a table and build/bench/overhead.json'
	@echo 'make format        clang-format over C and C++'
	@echo 'make lint          clang-format, clang-tidy and buf, as errors'
	@echo 'make clean         removes build/ (downloads stay in .cache/)'
	@echo 'PRESET=dev|release|asan|tsan|fuzz|tidy chooses another build; JOBS=N how much runs at once.'

can-demo: setup
	@tools/demo/run --check

# Installs the missing ones of packages.txt; asks for sudo when not root.
setup:
	@tools/setup

$(BUILD)/build.ninja: | setup
	cmake --preset $(PRESET)
configure: $(BUILD)/build.ninja

build: setup configure
	cmake --build $(BUILD) --parallel $(JOBS) --target sonded sonde-agent sonde

# What the machine lacks is said before anything is built.
demo: can-demo build
	@tools/demo/run $(BUILD) $(if $(ONESHOT),--oneshot)

test: setup configure
	cmake --build $(BUILD) --parallel $(JOBS)
	@tools/run_tests $(BUILD)

unit: setup configure
	cmake --build $(BUILD) --parallel $(JOBS) --target unit_tests
	ctest --test-dir $(BUILD) --label-regex unit --output-on-failure

# A minute a target; FUZZ_SECONDS for another length.
fuzz: setup
	@tools/run_fuzzers

bench: build
	cmake --build $(BUILD) --parallel $(JOBS) --target otlp_sink
	@tests/bench/run $(BUILD)

format: setup
	@git ls-files '*.h' '*.cpp' '*.c' | xargs clang-format-16 -i

lint: setup configure
	@tools/lint

clean:
	rm -rf build
