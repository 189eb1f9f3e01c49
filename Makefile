# Tetrad: build, test, install. `make help` lists the targets.

VERSION := 0.1.0
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
CFLAGS  ?= -O2 $(if $(SANITIZER),-g1,-g)
V       ?= 0
ARCH    := $(shell $(CC) -dumpmachine | cut -d- -f1)

# What is released: a fault in memory is to be of as little use to who finds it as can be had for nothing
# (tests/lint/test_hardening.py).
HARDENING := -fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE \
             $(if $(filter -O0,$(CFLAGS)),,-D_FORTIFY_SOURCE=3)
HARDENING += $(if $(filter x86_64,$(ARCH)),-fcf-protection) $(if $(filter aarch64,$(ARCH)),-mbranch-protection=standard)

# SANITIZER=address,undefined or SANITIZER=thread builds into a folder of its own; COVERAGE=1 counts what is run there.
comma := ,
ifneq ($(SANITIZER),)
  override BUILD   := $(BUILD)/$(subst $(comma),-,$(SANITIZER))
  override CFLAGS  += -fsanitize=$(SANITIZER) -fno-omit-frame-pointer -fno-sanitize-recover=all
  override LDFLAGS += -fsanitize=$(SANITIZER)
else
  override CFLAGS  += -DNDEBUG $(HARDENING) # assertions are for the builds with sanitizers
  override LDFLAGS += -Wl,-z,relro,-z,now,-z,noexecstack
endif
ifneq ($(COVERAGE),)
  override CFLAGS  += --coverage -fprofile-update=atomic
endif

# FUZZ=1 builds what tests/fuzz needs: by clang, with its counters of edges.
ifneq ($(FUZZ),)
  override BUILD   := $(BUILD)/fuzz
  override CC      := $(filter ccache,$(CC)) clang
  override CFLAGS  := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
                      -fno-omit-frame-pointer
  override LDFLAGS += -fsanitize=address,undefined
  # Of the kernels: clang takes minutes over vectors with all of that, and what they are given was checked before.
  UNCOUNTED := -O1 -fno-sanitize=undefined,fuzzer-no-link
endif

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
ifneq ($(CI),)
  WARNINGS += -Werror
endif

# -ffp-contract=off: a product and a sum are fused where the code says fma and nowhere else, so that every processor
# and every compiler gives the same bits. No option that lets the compiler reorder floating point may be added.
override CFLAGS  += -std=c17 -D_GNU_SOURCE -DTETRAD_VERSION='"$(VERSION)"' -Iinclude \
                    -ffp-contract=off -fno-math-errno -fPIE -pthread $(WARNINGS) -MMD -MP
override LDFLAGS += -pie -pthread

PACKAGES       := libmicrohttpd jansson sqlite3 libcurl zlib libzip libsodium libarchive nettle libpng
PACKAGE_CFLAGS  = $(shell pkg-config --cflags $(PACKAGES))
LIBS            = $(shell pkg-config --libs $(PACKAGES)) -lm $(if $(COVERAGE),-lgcov) # not --coverage: tests are not counted, naive loops least of all

# ---- sources -----------------------------------------------------------------------------------

KERNELS-x86_64  := core/kernels/avx2.c core/kernels/avx512.c
KERNELS-aarch64 := core/kernels/neon.c

CORE := core/audit.c core/audit_reads.c core/batch.c core/centre.c core/changes.c core/delay.c core/draw.c \
        core/eigenvalues.c core/error.c core/exact.c core/interventions.c core/network.c core/noise.c core/philox.c \
        core/plan.c core/protocol.c core/selection.c core/series.c core/stages.c core/state.c core/team.c \
        core/trainer.c core/wiring.c \
        core/data/dataset.c core/data/glyphs.c core/data/strokes.c \
        core/kernels/scalar.c core/kernels/select.c $(KERNELS-$(ARCH)) \
        core/rules/bp.c core/rules/brsf.c core/rules/dfa.c core/rules/fa.c core/rules/frsf.c core/rules/kp.c \
        core/rules/rules.c core/rules/sal.c core/rules/signs.c core/rules/usf.c core/rules/wm.c \
        core/telemetry/activity.c core/telemetry/alignment.c core/telemetry/spectrum.c core/telemetry/telemetry.c \
        core/telemetry/traces.c

SERVER := server/clock.c server/embed.c server/fetch.c server/file.c server/json.c server/machine.c \
          server/options.c server/pool.c server/session.c server/space.c server/terminal.c server/text.c \
          $(sort $(wildcard server/access/*.c server/api/*.c server/client/*.c server/commands/*.c server/data/*.c \
                            server/definition/*.c server/events/*.c server/http/*.c server/import/*.c \
                            server/monitor/*.c server/results/*.c server/serve/*.c server/store/*.c))

# The dashboard (server/web.h): its own files, and libraries from Debian packages. NAME=PATH, as /assets/NAME.
packaged = $(or $(firstword $(wildcard $(addprefix /usr/lib/nodejs/,$(1)) $(addprefix /usr/share/nodejs/,$(1)) \
                                       $(addprefix /usr/share/javascript/,$(1)))),/usr/share/javascript/$(1))
WEB_OWN  := $(sort $(patsubst server/web/%,%,$(wildcard server/web/*.html server/web/*.css server/web/*.js \
                                                        server/web/*.svg server/web/pages/*.js)))
WEB       = $(foreach f,$(WEB_OWN),$(f)=server/web/$(f)) \
            mithril.js=$(call packaged,mithril/mithril.js) \
            dygraph.js=$(call packaged,dygraphs/dygraph.min.js) \
            dygraph.css=$(call packaged,dygraphs/dygraph.min.css)
# Only the form loads the editor.
WEB      += $(foreach f,lib/codemirror.js lib/codemirror.css mode/javascript/javascript.js \
                        addon/edit/matchbrackets.js addon/edit/closebrackets.js addon/hint/show-hint.js \
                        addon/hint/show-hint.css,\
                        $(notdir $(f))=$(call packaged,codemirror/$(f)))
WEB_FILES = $(foreach f,$(WEB),$(lastword $(subst =, ,$(f))))

UNIT := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/test_*.c)))
API  := $(patsubst tests/api/%.c,%,$(sort $(wildcard tests/api/test_*.c)))

# Tests in which several threads meet: run under ThreadSanitizer as well.
CONCURRENT := test_actions test_ahead test_catalog test_changes_told test_database_file test_events test_http \
              test_http_abuse test_http_bodies test_http_limits test_queue test_records test_recovery test_spool \
              test_store test_streams test_team test_timeline test_users test_writer

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))
CORE_OBJECTS   = $(call objects,$(CORE))
SERVER_OBJECTS = $(call objects,$(SERVER)) $(BUILD)/web/assets.o
LIBRARY = $(BUILD)/libtetrad.a
PROGRAM = $(BUILD)/tetrad

# As many jobs as processors, unless the caller has said how many.
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
SUBMAKE = $(MAKE) --no-print-directory $(JOBS)

Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' '$(1)' '$(2)')

# ---- building ----------------------------------------------------------------------------------

.PHONY: all help deps deps-test tests check lint coverage fuzz fuzz-programs fuzz-http \
        soak soak-kills soak-faults soak-alloc soak-load bench bench-quick bench-server bench-programs \
        science science-quick install uninstall deb deps-deb demo demo-stop clean
all: deps
	+$(Q)$(SUBMAKE) $(PROGRAM)

help:
	@sed -n 's/^#: //p' Makefile

#: make                install what is missing, build build/tetrad
#: make demo           start a server, submit SAL against backpropagation, show the result
#: make demo-stop      stop that server
#: make tests          build every test program, run none
#: make check          install what the tests need, build and run every test
#: make lint           cppcheck, clang's warnings, clang-tidy; FULL=1: clang's analyzer too (minutes)
#: make coverage       which lines of core/ and server/ the last `make check` ran: a table; fails under 85 %
#: make fuzz           fuzz what is read from outside, each target for 1 minute or MINUTES=n; one: TARGET=csv
#: make fuzz-http      requests made of openapi.json against both builds of the server (MINUTES=20)
#: make soak           the four that follow, one after the other
#: make soak-kills     kill the server 1,000 times in whatever it does (TETRAD_KILLS=n: as often), and compare every run
#: make soak-faults    file errors, power cuts and clocks that jump, all that there are (half an hour; MINUTES=12 each)
#: make soak-alloc     each place where memory is asked for fails; each schema is upgraded, killed on the way
#: make soak-load      half an hour (MINUTES=30) of a whole lab's load on a quiet machine; ends with a table
#: make bench          measure the core against the machine's limit, PyTorch and OpenBLAS (ten minutes; keep it quiet)
#: make bench-quick    the same coarsely, in under two minutes
#: make bench-server   measure the server: requests, shares, event streams (MINUTES=10), 100,000 runs in the queue
#: make science        the tables of schema/examples/science, or TABLE=a alone (hours; datasets from TETRAD_DATA)
#: make science-quick  small forms of them, on built-in data
#: make install        into DESTDIR and PREFIX (default /usr/local)
#: make uninstall      take that away again
#: make deb            a Debian package of the program as a service, in build/
#: make clean          remove build/

deps:
	$(Q)deploy/deps build
deps-deb:
	$(Q)deploy/deps build deb
deps-test:
	$(Q)deploy/deps build test
	$(Q)deploy/deps lint || echo 'make check: goes on without the tools that read the code' >&2
	$(Q)deploy/deps package || echo 'make check: goes on without packages' >&2
	$(Q)deploy/deps browser || echo 'make check: goes on without a browser' >&2
	$(Q)deploy/deps fuzz || echo 'make check: goes on without fuzzing' >&2

# A change of flags rebuilds everything that they reach.
FLAGS = $(BUILD)/flags
$(FLAGS): FORCE
	@mkdir -p $(BUILD)
	@echo '$(CC) $(subst ','\'',$(CFLAGS) $(LDFLAGS))' | cmp -s - $@ || \
		echo '$(CC) $(subst ','\'',$(CFLAGS) $(LDFLAGS))' > $@
FORCE:

# -fPIC, and calls that are direct all the same: the library goes into programs and into shared objects.
$(BUILD)/core/%.o: core/%.c $(FLAGS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fPIC -fno-semantic-interposition -Icore $(COUNTERS) $(KERNEL_FLAGS) \
		$(if $(filter core/kernels/%,$<),$(UNCOUNTED)) -c $< -o $@

# Several threads run the same loops here: a counter that now and then loses a step tells as much as an atomic one.
$(CORE_OBJECTS): COUNTERS = $(if $(COVERAGE),-fprofile-update=single)
$(BUILD)/core/kernels/avx2.o:   KERNEL_FLAGS = -O3 -mavx2 -mfma
$(BUILD)/core/kernels/avx512.o: KERNEL_FLAGS = -O3 -mavx512f -mavx2 -mfma -mprefer-vector-width=512
$(BUILD)/core/kernels/neon.o:   KERNEL_FLAGS = -O3
# Their text is scalar.o's, which counts its lines.
$(BUILD)/core/kernels/avx2.o $(BUILD)/core/kernels/avx512.o $(BUILD)/core/kernels/neon.o: \
	override CFLAGS := $(filter-out --coverage,$(CFLAGS))
# What the sign-concordant rules do for each synapse is plain C: loops that the compiler makes vectors of.
$(BUILD)/core/philox.o $(BUILD)/core/rules/%.o: KERNEL_FLAGS = -O3

$(BUILD)/server/%.o: server/%.c $(FLAGS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Iserver $(PACKAGE_CFLAGS) -c $< -o $@

$(BUILD)/server/embed.o: schema/experiment.schema.json schema/openapi.json $(wildcard schema/sql/*.sql) \
                         $(BUILD)/examples.json
$(BUILD)/server/embed.o: override CFLAGS += -Wa,-I$(BUILD)

# What GET /v1/examples answers: the examples as they are, with their names, by their files' names.
EXAMPLES = $(sort $(wildcard schema/examples/*.json))
$(BUILD)/examples.json: $(EXAMPLES) $(FLAGS)
	$(call say,JSON,$@)
	$(Q)comma='{"examples":['; for file in $(EXAMPLES); do \
		name=$$(sed -n '1,2s/^  "name": \(".*"\),$$/\1/p' $$file) && \
		printf '%s{"file":"%s","name":%s,"definition":' "$$comma" "$${file##*/}" "$$name" && \
		cat $$file && printf '}' && comma=,; done >$@.new
	$(Q)echo ']}' >>$@.new && mv $@.new $@

$(BUILD)/web/list: FORCE # so that a file that is gone goes from the program too
	@mkdir -p $(@D)
	@echo '$(WEB)' | cmp -s - $@ || echo '$(WEB)' > $@
$(BUILD)/web/assets.c: $(BUILD)/web/list $(WEB_FILES) deploy/web-assets
	$(call say,WEB,$@)
	$(Q)deploy/web-assets $@ $(WEB)
$(BUILD)/web/assets.o: $(BUILD)/web/assets.c server/web.h $(FLAGS)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) -Iserver -c $< -o $@

$(LIBRARY): $(CORE_OBJECTS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(PROGRAM): $(BUILD)/server/main.o $(SERVER_OBJECTS) $(LIBRARY)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(LIBS) -o $@

# ---- tests -------------------------------------------------------------------------------------

$(BUILD)/tests/%: tests/%.c $(SERVER_OBJECTS) $(LIBRARY)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out --coverage,$(CFLAGS)) -Itests -Icore -Iserver $(PACKAGE_CFLAGS) $< $(SERVER_OBJECTS) $(LIBRARY) \
		$(LDFLAGS) $(LIBS) -lcmocka -o $@

# What is read from outside, by libFuzzer: see tests/fuzz/run. Built with FUZZ=1.
FUZZ_TARGETS = $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(sort $(wildcard tests/fuzz/*.c)))
$(BUILD)/tests/fuzz/%: tests/fuzz/%.c $(SERVER_OBJECTS) $(LIBRARY)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer -Itests -Icore -Iserver $(PACKAGE_CFLAGS) $< $(SERVER_OBJECTS) $(LIBRARY) \
		$(LDFLAGS) $(LIBS) -o $@
fuzz-programs: $(FUZZ_TARGETS)
# Whether there is a clang with its sanitizers' library: else the test says that it is skipped.
CAN_FUZZ = echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' | \
           clang -fsanitize=fuzzer,address,undefined -x c - -o /dev/null 2>/dev/null

fuzz:
	$(Q)deploy/deps build fuzz
	+$(Q)$(SUBMAKE) FUZZ=1 fuzz-programs
	$(Q)tests/fuzz/run --build $(BUILD)/fuzz --seconds $$(($(or $(MINUTES),1) * 60)) $(addprefix --target ,$(TARGET))

# The clients of the soak test: nothing of the server is in them.
LOAD = $(BUILD)/tests/soak/load
UNIT_PROGRAMS = $(addprefix $(BUILD)/tests/unit/,$(UNIT))
API_PROGRAMS  = $(addprefix $(BUILD)/tests/api/,$(API))
# What makes a running server's surroundings fail: loaded before its libraries (LD_PRELOAD), never linked.
PRELOADS = $(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/fault/*.c))
tests: $(PROGRAM) $(UNIT_PROGRAMS) $(API_PROGRAMS) $(if $(SANITIZER),,$(PRELOADS) $(LOAD))

-include $(PRELOADS:.so=.d)
$(BUILD)/tests/fault/%.so: tests/fault/%.c $(FLAGS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -U_FORTIFY_SOURCE -fPIC -shared $< $(filter-out -pie,$(LDFLAGS)) -ldl -o $@

$(LOAD): $(wildcard tests/soak/*.c tests/soak/*.h) $(FLAGS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Itests $(filter %.c,$^) $(LDFLAGS) -lm -o $@

check: deps-test
	+$(Q)$(SUBMAKE) tests
	+$(Q)$(SUBMAKE) tests SANITIZER=address,undefined COVERAGE=1
	+$(Q)$(SUBMAKE) SANITIZER=thread \
		$(addprefix $(BUILD)/thread/tests/unit/,$(CONCURRENT)) $(BUILD)/thread/tetrad \
		$(addprefix $(BUILD)/thread/tests/api/,$(API))
	+$(Q)! $(CAN_FUZZ) || $(SUBMAKE) FUZZ=1 fuzz-programs
	$(Q)tests/run $(BUILD)

lint:
	$(Q)deploy/deps lint
	$(Q)FULL='$(FULL)' /usr/bin/python3 tests/lint/test_lint.py
coverage:
	$(Q)TETRAD=$(BUILD)/tetrad /usr/bin/python3 tests/lint/coverage.py --table

fuzz-http: deps-test
	+$(Q)$(SUBMAKE) $(PROGRAM)
	+$(Q)$(SUBMAKE) $(BUILD)/address-undefined/tetrad SANITIZER=address,undefined
	$(Q)for program in $(BUILD)/address-undefined/tetrad $(PROGRAM); do \
		TETRAD=$$program /usr/bin/python3 tests/fuzz/test_http.py --minutes $(or $(MINUTES),20) || exit 1; done

# ---- soaking: the long forms of tests, for a machine that has the time ---------------------------

soak: soak-kills soak-faults soak-alloc soak-load

soak-kills: all
	$(Q)TETRAD=$(abspath $(PROGRAM)) TETRAD_SOAK=1 /usr/bin/python3 tests/fault/test_kill.py
soak-alloc: deps-test
	+$(Q)$(SUBMAKE) tests
	$(Q)export TETRAD=$(abspath $(PROGRAM)) TETRAD_SOAK=1; \
		/usr/bin/python3 tests/fault/test_alloc.py && /usr/bin/python3 tests/fault/test_upgrade.py
# What make check draws a sample of. TETRAD_SEED repeats one that was drawn.
soak-faults: deps-test
	+$(Q)$(SUBMAKE) tests
	$(Q)export TETRAD=$(abspath $(PROGRAM)) TETRAD_SOAK=1 MINUTES=$(or $(MINUTES),12); status=0; \
		for test in tests/fault/test_io.py tests/fault/test_power.py tests/fault/test_clock.py; do \
			/usr/bin/python3 $$test || status=1; done; exit $$status
soak-load: all
	$(Q)deploy/deps test
	+$(Q)$(SUBMAKE) $(LOAD)
	$(Q)TETRAD=$(abspath $(PROGRAM)) TETRAD_SOAK=1 MINUTES=$(or $(MINUTES),30) /usr/bin/python3 tests/soak/test_soak.py

# ---- measuring ---------------------------------------------------------------------------------

BENCH = $(BUILD)/tests/bench
BENCH_HEADERS = $(wildcard tests/bench/*.h include/tetrad/*.h)

$(BENCH)/core: tests/bench/core.c $(BENCH_HEADERS) $(LIBRARY)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $< $(LIBRARY) $(LDFLAGS) -lm -o $@

# The peer gets what its compiler can do.
$(BENCH)/blas: tests/bench/blas.c $(BENCH_HEADERS) $(FLAGS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -O3 -march=native -ffp-contract=fast $(shell pkg-config --cflags openblas) $< \
		$(LDFLAGS) $(shell pkg-config --libs openblas) -lm -o $@

bench-programs: $(BENCH)/core $(if $(shell pkg-config --exists openblas && echo yes),$(BENCH)/blas)

bench bench-quick: deps
	$(Q)[ -z "$(SANITIZER)" ] || { echo 'make $@: measures what is released: not with SANITIZER' >&2; exit 2; }
	$(Q)deploy/deps bench || echo 'make $@: goes on with the peers that are there' >&2
	+$(Q)$(SUBMAKE) bench-programs
	$(Q)CC='$(CC)' /usr/bin/python3 tests/bench/bench.py --build $(BUILD) $(if $(filter bench-quick,$@),--quick)

bench-server: all
	$(Q)deploy/deps bench || true
	+$(Q)$(SUBMAKE) $(BENCH)/queue
	$(Q)export TETRAD=$(abspath $(PROGRAM)); /usr/bin/python3 tests/bench/http_load.py && \
		/usr/bin/python3 tests/bench/shares.py && /usr/bin/python3 tests/bench/streams.py --minutes $(or $(MINUTES),1) && \
		/usr/bin/python3 tests/bench/queue.py --tetrad $(abspath $(PROGRAM)) && $(BENCH)/queue

# ---- the tables of the science -----------------------------------------------------------------

# Datasets are not part of the repository: TETRAD_DATA is a folder with mnist/ and cifar10/.
science science-quick: all
	$(Q)deploy/deps science || echo 'make $@: goes on without pictures' >&2
	$(Q)/usr/bin/python3 tests/science/science.py --tetrad $(PROGRAM) $(if $(TABLE),--table $(TABLE)) \
		$(if $(filter science-quick,$@),--quick)

# ---- using -------------------------------------------------------------------------------------

COMPLETIONS := bash-completion/completions/tetrad zsh/site-functions/_tetrad fish/vendor_completions.d/tetrad.fish

install: $(PROGRAM) $(LIBRARY)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include/tetrad $(DESTDIR)$(PREFIX)/lib/pkgconfig \
		$(DESTDIR)$(PREFIX)/share/tetrad/examples
	install -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/tetrad
	install -m 644 include/tetrad/*.h $(DESTDIR)$(PREFIX)/include/tetrad/
	install -m 644 $(LIBRARY) $(DESTDIR)$(PREFIX)/lib/
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' deploy/tetrad.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/tetrad.pc
	chmod 644 $(DESTDIR)$(PREFIX)/lib/pkgconfig/tetrad.pc
	install -m 644 schema/examples/*.json tests/unit/library/train_strokes.c $(DESTDIR)$(PREFIX)/share/tetrad/examples/
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(addprefix $(DESTDIR)$(PREFIX)/share/,$(dir $(COMPLETIONS)))
	$(PROGRAM) completion man >$(DESTDIR)$(PREFIX)/share/man/man1/tetrad.1
	$(PROGRAM) completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/tetrad
	$(PROGRAM) completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_tetrad
	$(PROGRAM) completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/tetrad.fish
	chmod 644 $(addprefix $(DESTDIR)$(PREFIX)/share/,man/man1/tetrad.1 $(COMPLETIONS))
	install -m 755 deploy/examples/* $(DESTDIR)$(PREFIX)/share/tetrad/examples/
	install -m 644 schema/experiment.schema.json schema/openapi.json $(DESTDIR)$(PREFIX)/share/tetrad/

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/tetrad $(DESTDIR)$(PREFIX)/lib/libtetrad.a $(DESTDIR)$(PREFIX)/lib/pkgconfig/tetrad.pc
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/tetrad.1 $(addprefix $(DESTDIR)$(PREFIX)/share/,$(COMPLETIONS))
	rm -rf $(DESTDIR)$(PREFIX)/include/tetrad $(DESTDIR)$(PREFIX)/share/tetrad

# The package of this system's release: its libraries are what it depends on.
deb: deps-deb
	+$(Q)$(SUBMAKE) $(PROGRAM) $(LIBRARY)
	$(Q)rm -rf $(BUILD)/deb && mkdir -p $(BUILD)/deb
	$(Q)$(MAKE) --no-print-directory -s install DESTDIR=$(BUILD)/deb PREFIX=/usr
	$(Q)deploy/debian/build $(VERSION) $(BUILD)/deb $(BUILD)
	@ls $(BUILD)/tetrad_$(VERSION)_*.deb

demo: all
	$(Q)deploy/demo $(PROGRAM)
demo-stop:
	$(Q)deploy/demo $(PROGRAM) stop

clean:
	rm -rf build

-include $(patsubst %.o,%.d,$(CORE_OBJECTS) $(SERVER_OBJECTS) $(BUILD)/server/main.o)
-include $(addsuffix .d,$(UNIT_PROGRAMS) $(API_PROGRAMS) $(FUZZ_TARGETS))
