# dracd: see README.md. Everything that is made lands in build/.
#
#   make            the daemon, the library
#   make check      installs what it needs, runs all tests
#   make demo       installs what it needs, shows the main job on real programs
#   make B=build/asan SAN=address,undefined    a second build, with sanitizers

VERSION    = 2.0
PREFIX    ?= /usr/local
SBINDIR   ?= $(PREFIX)/sbin
BINDIR    ?= $(PREFIX)/bin
LIBDIR    ?= $(PREFIX)/lib
INCLUDEDIR?= $(PREFIX)/include
MANDIR    ?= $(PREFIX)/share/man
DOCDIR    ?= $(PREFIX)/share/doc/dracd
SYSCONFDIR?= /etc
STATEDIR  ?= /var/lib/dracd
BASHDIR   ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR    ?= $(PREFIX)/share/zsh/site-functions
UNITDIR   ?= /lib/systemd/system
SYSUSERSDIR?= /usr/lib/sysusers.d
TMPFILESDIR?= /usr/lib/tmpfiles.d
SENDMAILCF?= /usr/share/sendmail/cf
# Where PAM and Dovecot of this host look for modules.
PAMDIR    ?= $(patsubst %/pam_unix.so,%,$(firstword $(wildcard \
             /lib/*/security/pam_unix.so /lib64/security/pam_unix.so) $(LIBDIR)/security/pam_unix.so))
DOVECOTDIR?= /usr/lib/dovecot/modules

B         ?= build
SAN       ?=
PYTHON    ?= /usr/bin/python3
PKG_CONFIG?= pkg-config
INSTALL   ?= install
JOBS      ?= $(shell nproc)

CFLAGS    ?= -O2 -g
WARN       = -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
             -Wstrict-prototypes -Wmissing-prototypes
ifdef CI
WARN      += -Werror
endif
HARDEN     = -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2)
SANFLAGS   = $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)

DEPS       = libtirpc libconfuse libdeflate
SYSTEMD   := $(shell $(PKG_CONFIG) --exists libsystemd && echo libsystemd)
LMDB      := $(shell $(PKG_CONFIG) --exists lmdb && echo lmdb)
# Only its headers: libdrac/sign.c loads it where a key is used.
OPENSSL   := $(shell $(PKG_CONFIG) --exists 'libcrypto >= 3' && echo libcrypto)
CPPFLAGS  += -D_GNU_SOURCE -I$(B)/gen -Ilibdrac -Iintegrations/common \
             -DDRACD_VERSION='"$(VERSION)"' \
             $(if $(SYSTEMD),-DHAVE_SYSTEMD) $(if $(LMDB),-DHAVE_LMDB) \
             $(if $(OPENSSL),-DHAVE_OPENSSL) \
             $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags $(DEPS) $(SYSTEMD)))
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) $(HARDEN) $(SANFLAGS) -fPIC
LDFLAGS   += -Wl,-z,relro,-z,now -Wl,--as-needed
DRACD_LIBS = $(shell $(PKG_CONFIG) --libs $(DEPS) $(LMDB)) -ldb-5.3 -lwrap -lpthread
LIBDRAC_LIBS = $(shell $(PKG_CONFIG) --libs libtirpc)

# Hooks are built when what they need is there; each has libdrac within it, so
# that another libdrac.so.1 on the host cannot keep anybody from logging in.
# Those that other programs load are never sanitized.
WATCH_DEPS = libpcre2-8 jansson zlib
WATCH     := $(shell $(PKG_CONFIG) --exists $(WATCH_DEPS) && echo yes)
CTL_DEPS   = jansson
CTL       := $(shell $(PKG_CONFIG) --exists $(CTL_DEPS) && echo yes)
PAM       := $(if $(wildcard /usr/include/security/pam_modules.h),yes)
DOVECOT_INCLUDE ?= $(firstword $(wildcard /usr/include/dovecot) \
             build/servers/dovecot-dev/root/usr/include/dovecot)
DOVECOT   := $(if $(wildcard $(DOVECOT_INCLUDE)/config.h),yes)
# 2.4 has the settings of a plugin in a module of their own.
DOVECOT_SETTINGS := $(shell grep -sl plugin_dependency $(DOVECOT_INCLUDE)/settings-parser.h)

GEN        = $(B)/gen/drac_prot.h $(B)/gen/drac_xdr.c
OBJ        = $(B)/obj
XDR_OBJ    = $(OBJ)/drac_xdr.o
ROOM_OBJ   = $(patsubst %.c,$(OBJ)/%.o,$(filter-out dracd/main.c,$(wildcard dracd/*.c))) $(XDR_OBJ) \
             $(OBJ)/libdrac/sign.o
COMMON_OBJ = $(OBJ)/integrations/common/mailclient.o
HOOK_OBJ   = $(COMMON_OBJ) $(OBJ)/dracd/text.o
WATCH_OBJ  = $(patsubst %.c,$(OBJ)/%.o,$(filter-out %/main.c,$(wildcard integrations/watch/*.c))) \
             $(COMMON_OBJ) $(patsubst %,$(OBJ)/dracd/%.o,log loop notify text)
FUZZ_WATCH = patterns cyrus
CTL_OBJ    = $(patsubst %.c,$(OBJ)/%.o,$(filter-out %/main.c,$(wildcard dracctl/*.c))) \
             $(COMMON_OBJ) $(OBJ)/dracd/text.o
FUZZ_CTL   = import
FUZZ_LIB   = server
HOOKS      = $(B)/dracexec $(if $(WATCH),$(B)/dracwatch) \
             $(if $(SAN),,$(if $(PAM),$(B)/pam_drac.so) \
             $(if $(DOVECOT),$(DOVECOT_SO)))
DOVECOT_SO = $(B)/dovecot/lib99_drac_plugin.so \
             $(if $(DOVECOT_SETTINGS),$(B)/dovecot/libdrac_settings.so)
LIB_OBJ    = $(patsubst %.c,$(OBJ)/%.o,$(wildcard libdrac/*.c)) $(XDR_OBJ)
FUZZ      := $(filter-out $(if $(WATCH),,$(FUZZ_WATCH)) $(if $(CTL),,$(FUZZ_CTL)),$(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)))
UNIT       = $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c)) \
             $(FUZZ:%=$(B)/unit/test_fuzz_%)
TOOLS      = $(patsubst tests/tools/%.c,$(B)/tools/%,$(wildcard tests/tools/*.c))
PRELOADS   = $(patsubst tests/preload/%.c,$(B)/preload/%.so,$(wildcard tests/preload/*.c))
SOURCES    = $(wildcard dracd/*.[ch] libdrac/*.[ch] dracctl/*.[ch] integrations/*/*.[ch] tests/unit/*.[ch] tests/tools/*.[ch] \
             tests/preload/*.c tests/fuzz/*.[ch])
MANUALS    = $(wildcard man/*.[1-8])

# What apt installs: compilers, libraries and test tools, never a server.
BUILD_DEPS = build-essential pkg-config rpcsvc-proto libtirpc-dev libdb5.3-dev \
             libwrap0-dev libconfuse-dev libdeflate-dev zlib1g-dev libbsd-dev libsystemd-dev \
             liblmdb-dev libpam0g-dev libpcre2-dev libjansson-dev libssl-dev
TEST_DEPS  = libcmocka-dev python3 python3-pytest python3-prometheus-client db5.3-util iproute2 m4 openssl strace
LINT_DEPS  = clang clang-format clang-tidy mandoc
BENCH_DEPS = python3 valgrind
FUZZ_DEPS  = clang libclang-rt-14-dev

all: $(B)/dracd $(B)/rpc.dracd $(B)/libdrac.so $(B)/libdrac.a $(if $(CTL),$(B)/dracctl) $(HOOKS)
tests-build: all $(UNIT) $(TOOLS) $(PRELOADS)

# ---- generated ------------------------------------------------------------
$(B)/gen/drac_prot.x: rpc/drac.x
	@mkdir -p $(@D)
	cp $< $@
$(B)/gen/drac_prot.h: $(B)/gen/drac_prot.x
	cd $(@D) && rm -f drac_prot.h && rpcgen -h -o drac_prot.h drac_prot.x
$(B)/gen/drac_xdr.c: $(B)/gen/drac_prot.x
	cd $(@D) && rm -f drac_xdr.c && rpcgen -c -o drac_xdr.c drac_prot.x

# ---- compiled ---------------------------------------------------------------
$(OBJ)/%.o: %.c | $(GEN)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(XDR_OBJ): $(B)/gen/drac_xdr.c $(B)/gen/drac_prot.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -w -c -o $@ $<

$(B)/dracd: $(OBJ)/dracd/main.o $(ROOM_OBJ)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(DRACD_LIBS)
$(B)/rpc.dracd: $(B)/dracd
	ln -sf dracd $@
$(B)/libdrac.so.1: $(LIB_OBJ) libdrac/libdrac.map
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -shared -Wl,-z,nodelete -Wl,-soname,libdrac.so.1 \
	    -Wl,--version-script=libdrac/libdrac.map -o $@ $(LIB_OBJ) $(LIBDRAC_LIBS)
$(B)/libdrac.so: $(B)/libdrac.so.1
	ln -sf libdrac.so.1 $@
$(B)/libdrac.a: $(LIB_OBJ)
	rm -f $@ && $(AR) rcs $@ $^

# With libdrac within it: an older one on the host knows less.
$(B)/dracctl: $(OBJ)/dracctl/main.o $(CTL_OBJ) $(B)/libdrac.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBDRAC_LIBS) -lpthread $(shell $(PKG_CONFIG) --libs $(CTL_DEPS))

$(OBJ)/integrations/%.o: CPPFLAGS += -Idracd

# ---- hooks ------------------------------------------------------------------
IN_HOOK    = -Wl,--exclude-libs,ALL $(B)/libdrac.a $(LIBDRAC_LIBS) -lpthread
$(B)/dracexec: $(OBJ)/integrations/exec/dracexec.o $(HOOK_OBJ) $(B)/libdrac.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(IN_HOOK)
$(B)/dracwatch: $(OBJ)/integrations/watch/main.o $(WATCH_OBJ) $(B)/libdrac.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(IN_HOOK) \
	    $(shell $(PKG_CONFIG) --libs $(WATCH_DEPS) $(SYSTEMD))
# -lpam must stay in NEEDED: some servers load PAM where nobody else sees it.
# pam_end() unloads modules, but a name lookup that is late still runs: nodelete.
PAM_OBJ    = $(OBJ)/integrations/pam/pam_drac.o $(HOOK_OBJ)
$(B)/pam_drac.so: $(PAM_OBJ) integrations/pam/pam_drac.map $(B)/libdrac.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -shared -Wl,-z,nodelete \
	    -Wl,--version-script=integrations/pam/pam_drac.map -o $@ $(PAM_OBJ) $(IN_HOOK) -lpam
# Dovecot's headers are not clean under WARN.
DOVECOT_CC = $(CC) -std=gnu11 $(CFLAGS) -Wall -Wextra $(if $(CI),-Werror) $(HARDEN) \
             -fPIC $(LDFLAGS) -shared -DHAVE_CONFIG_H -isystem $(DOVECOT_INCLUDE) -Ilibdrac
$(B)/dovecot/lib99_drac_plugin.so: integrations/dovecot/drac-plugin.c $(B)/libdrac.a
	@mkdir -p $(@D)
	$(DOVECOT_CC) -o $@ $< $(IN_HOOK)
$(B)/dovecot/libdrac_settings.so: integrations/dovecot/drac-plugin.c
	@mkdir -p $(@D)
	$(DOVECOT_CC) -DDRAC_SETTINGS_MODULE -o $@ $<

# A unit test sees the rooms of the daemon and the library, not main.c.
$(B)/unit/%: tests/unit/%.c $(ROOM_OBJ) $(COMMON_OBJ) $(B)/libdrac.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Idracd $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(ROOM_OBJ) $(COMMON_OBJ) \
	    $(B)/libdrac.a $(DRACD_LIBS) $(shell $(PKG_CONFIG) --libs cmocka zlib)
# Real PAM loads the module, here a sanitized one, whose sanitizer has to find
# libtirpc when the program starts.
$(B)/unit/test_pam_%: tests/unit/test_pam_%.c $(B)/pam_drac.so
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< -lpam -lpthread \
	    -Wl,--no-as-needed $(LIBDRAC_LIBS) $(shell $(PKG_CONFIG) --libs cmocka)
# Those of dracwatch see its rooms; names would clash with the daemon's.
$(B)/unit/test_watch_%: tests/unit/test_watch_%.c $(WATCH_OBJ) $(B)/libdrac.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Iintegrations/watch -Idracd $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(WATCH_OBJ) \
	    $(B)/libdrac.a $(LIBDRAC_LIBS) -lpthread \
	    $(shell $(PKG_CONFIG) --libs $(WATCH_DEPS) $(SYSTEMD) cmocka)
# So do those of dracctl.
$(B)/unit/test_ctl_%: tests/unit/test_ctl_%.c $(CTL_OBJ) $(B)/libdrac.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Idracctl $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(CTL_OBJ) \
	    $(B)/libdrac.a $(LIBDRAC_LIBS) -lpthread $(shell $(PKG_CONFIG) --libs $(CTL_DEPS) cmocka)
# A fuzz target is a unit test too, over the inputs in its corpus.
$(B)/unit/test_fuzz_%: tests/fuzz/fuzz_%.c $(OBJ)/tests/fuzz/replay.o $(B)/libdrac.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(filter %.o,$^) $(B)/libdrac.a \
	    $(FUZZ_LIBS) $(shell $(PKG_CONFIG) --libs cmocka)
# Only with the compiler and the sanitizers that `make fuzz` sets.
$(B)/fuzz_%: tests/fuzz/fuzz_%.c $(B)/libdrac.a
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -MMD -MP -o $@ $< $(filter %.o,$^) \
	    $(B)/libdrac.a $(FUZZ_LIBS)
fuzz_programs = $(foreach f,$(1),$(B)/unit/test_fuzz_$(f) $(B)/fuzz_$(f))
FUZZ_DRACD = $(filter-out $(FUZZ_WATCH) $(FUZZ_CTL) $(FUZZ_LIB),$(FUZZ))
$(call fuzz_programs,$(FUZZ_DRACD)): $(ROOM_OBJ)
$(call fuzz_programs,$(FUZZ_DRACD)): private CPPFLAGS += -Idracd
$(call fuzz_programs,$(FUZZ_DRACD)): private FUZZ_LIBS = $(DRACD_LIBS) $(shell $(PKG_CONFIG) --libs zlib)
$(call fuzz_programs,$(FUZZ_LIB)): private FUZZ_LIBS = $(LIBDRAC_LIBS) -lpthread
$(call fuzz_programs,$(filter $(FUZZ_CTL),$(FUZZ))): $(CTL_OBJ)
$(call fuzz_programs,$(filter $(FUZZ_CTL),$(FUZZ))): private CPPFLAGS += -Idracctl
$(call fuzz_programs,$(filter $(FUZZ_CTL),$(FUZZ))): private FUZZ_LIBS = $(LIBDRAC_LIBS) -lpthread \
	    $(shell $(PKG_CONFIG) --libs $(CTL_DEPS))
$(call fuzz_programs,$(filter $(FUZZ_WATCH),$(FUZZ))): $(WATCH_OBJ)
$(call fuzz_programs,$(filter $(FUZZ_WATCH),$(FUZZ))): private CPPFLAGS += -Iintegrations/watch
$(call fuzz_programs,$(filter $(FUZZ_WATCH),$(FUZZ))): private FUZZ_LIBS = $(LIBDRAC_LIBS) -lpthread \
	    $(shell $(PKG_CONFIG) --libs $(WATCH_DEPS) $(SYSTEMD))
fuzz-build: $(FUZZ:%=$(B)/fuzz_%)
# Helpers of the tests and the bench: load generators, preloads.
$(B)/tools/%: tests/tools/%.c $(B)/libdrac.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< \
	    $(B)/libdrac.a $(LIBDRAC_LIBS) -ldb-5.3 -lpthread

# Never sanitized: it goes into programs that may be.
$(B)/preload/%.so: tests/preload/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -std=gnu11 $(CFLAGS) $(WARN) -fPIC -shared -o $@ $< -ldl

# ---- doing ------------------------------------------------------------------
# Installs what is missing, and says so; needs root only then.
deps: ; @tests/deps $(BUILD_DEPS)
test-deps: ; @tests/deps $(BUILD_DEPS) $(TEST_DEPS)

# In the foreground, on loopback, with its state under build/run.
run: all
	@mkdir -p $(B)/run
	@printf '%s\n' 'user = ""' 'journal = "$(CURDIR)/$(B)/run/journal"' \
	    'map "btree:$(CURDIR)/$(B)/run/dracd.db" {}' \
	    'allow-file = "$(CURDIR)/$(B)/run/dracd.allow"' 'rpcbind = false' \
	    'listen = {"udp:127.0.0.1", "tcp:127.0.0.1", "unix:$(CURDIR)/$(B)/run/rpc.sock"}' \
	    'lookup = {"unix:$(CURDIR)/$(B)/run/map.sock"}' \
	    > $(B)/run/dracd.conf
	$(B)/dracd -f -c $(B)/run/dracd.conf

demo: test-deps
	@tests/servers/fetch base dovecot-dev postfix
	@$(MAKE) --no-print-directory -j$(JOBS) tests-build >$(B).log 2>&1 || { cat $(B).log; exit 1; }
	@rm -f $(B).log
	@DRACD_BUILD=$(B) $(PYTHON) tests/demo

# The plugin in Dovecot 2.4: a Debian 13 in build/trixie, 900 MB, the first time.
dovecot-2.4: ; @tests/deps debootstrap python3 iproute2
	@tests/servers/dovecot-2.4 build/trixie $(B)/dovecot-2.4

# Every test, for the plain build and for the one with sanitizers.
check: test-deps
	tests/servers/fetch
	$(MAKE) --no-print-directory -j$(JOBS) tests-build
	$(MAKE) --no-print-directory -j$(JOBS) B=$(B)/asan SAN=address,undefined tests-build
	@DRACD_BUILD=$(B):$(B)/asan $(PYTHON) tests/check

# The long form of tests that break what the daemon stands on: each call that
# writes, each allocation, power, the clock, and answers against a model: up to 40
# minutes on two processors. DRACD_SEED repeats a run.
torture: test-deps
	$(MAKE) --no-print-directory -j$(JOBS) tests-build
	$(MAKE) --no-print-directory -j$(JOBS) B=$(B)/asan SAN=address,undefined tests-build
	@TORTURE=1 DRACD_BUILD=$(B):$(B)/asan $(PYTHON) tests/check \
	    $(wildcard $(patsubst %,tests/integration/test_%.py,clock crash instants model power))

# What comes from outside, as bad as libFuzzer can make it: a minute each, two
# at a time. FUZZ="rpc journal" FUZZ_SECONDS=600 for some of them and longer.
FUZZ_SECONDS ?= 60
fuzz: ; @tests/deps $(BUILD_DEPS) $(FUZZ_DEPS)
	@$(MAKE) --no-print-directory -j$(JOBS) CC=clang B=$(B)/fuzz SAN=fuzzer-no-link,address,undefined fuzz-build
	@tests/fuzz/run $(B)/fuzz $(FUZZ_SECONDS) $(FUZZ)
fuzz-nightly: ; @$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=600

# Attacks of 5 s each, and what others see meanwhile.
hostile: test-deps all $(B)/tools/dracload $(B)/tools/dracflood
	HOSTILE_SECONDS=5 DRACD_BUILD=$(B) $(PYTHON) -m pytest -q -p no:cacheprovider tests/integration/test_hostile.py

# What the tests run, by file; what they do not stands in uncovered.txt. No
# FORTIFY_SOURCE, which needs an optimizer, and that would move lines together.
coverage: test-deps
	tests/servers/fetch
	@$(MAKE) --no-print-directory -j$(JOBS) B=$(B)/coverage CFLAGS='-O0 -g' \
	    HARDEN='--coverage -fprofile-update=atomic' tests-build
	@$(PYTHON) tests/coverage $(B)/coverage

# Memcheck, half an hour. MEMCHECK="session test_map" for some of it.
valgrind: test-deps
	@tests/deps valgrind
	@$(MAKE) --no-print-directory -j$(JOBS) B=$(B)/valgrind CFLAGS='-O1 -g -DMEMCHECK' tests-build
	@$(PYTHON) tests/valgrind $(B)/valgrind $(MEMCHECK)

# Threads of the library and of the daemon.
TSAN_UNIT  = journal journal_segments journal_write libdrac_call log
tsan: test-deps
	tests/servers/fetch base
	@$(MAKE) --no-print-directory -j$(JOBS) B=$(B)/tsan SAN=thread all \
	    $(patsubst $(B)/%,$(B)/tsan/%,$(TOOLS) $(PRELOADS)) $(TSAN_UNIT:%=$(B)/tsan/unit/test_%)
	@TSAN_OPTIONS='suppressions=$(CURDIR)/tests/tsan.supp print_suppressions=0' \
	    DRACD_BUILD=$(B)/tsan $(PYTHON) tests/check \
	    -k 'test_libdrac or test_life or test_v3 or test_disk_full'

# An hour of everything that a long life brings: SOAK_SECONDS=600 for less.
SOAK_SECONDS ?= 3600
soak: test-deps
	@$(MAKE) --no-print-directory -j$(JOBS) $(B)/dracd $(B)/tools/dracload $(B)/tools/mapput
	@DRACD_BUILD=$(B) SOAK_SECONDS=$(SOAK_SECONDS) $(PYTHON) tests/soak/soak

# About nine minutes. PARTS="rates million": some parts (tests/bench/bench has the
# list); BENCH_QUICK=1: only to see that they work; PEER=host:port: beside another
# drac server. Table, text and plots are left in build/bench.
bench: bench-build
	@DRACD_BUILD=$(B) PEER="$(PEER)" PARTS="$(PARTS)" $(PYTHON) tests/bench/bench
# The plots alone, and those against entries, up to ten million: 2 GB of memory.
bench-scaling: bench-build
	@DRACD_BUILD=$(B) PARTS="callers entries" $(PYTHON) tests/bench/bench
bench-build: ; @tests/deps $(BUILD_DEPS) $(BENCH_DEPS)
	@$(MAKE) -s --no-print-directory -j$(JOBS) $(B)/dracd $(B)/tools/dracload $(B)/tools/draconce $(B)/preload/slowsync.so

# Layout, clang-tidy, both compilers with warnings as errors, manuals.
lint: ; @tests/deps $(BUILD_DEPS) $(TEST_DEPS) $(LINT_DEPS)
	clang-format --dry-run -Werror $(SOURCES)
	$(MAKE) --no-print-directory CI=1 B=$(B)/lint-gcc all $(patsubst $(B)/%,$(B)/lint-gcc/%,$(UNIT) $(TOOLS))
	$(MAKE) --no-print-directory CI=1 CC=clang B=$(B)/lint-clang all
	clang-tidy --quiet --warnings-as-errors='*' \
	    $(filter-out %drac-plugin.c,$(filter dracd/%.c libdrac/%.c dracctl/%.c integrations/%.c,$(SOURCES))) -- \
	    -std=gnu11 -Idracd $(patsubst -I$(B)/gen,-isystem $(B)/lint-gcc/gen,$(CPPFLAGS))
	mandoc -Tlint -Wwarning $(MANUALS)

# ---- installing ---------------------------------------------------------------
D          = $(DESTDIR)
install: all
	$(INSTALL) -d $(D)$(SBINDIR) $(D)$(LIBDIR)/pkgconfig $(D)$(INCLUDEDIR) $(D)$(DOCDIR) \
	    $(D)$(UNITDIR) $(D)$(SYSUSERSDIR) $(D)$(TMPFILESDIR) $(D)$(SYSCONFDIR)/mail \
	    $(D)$(SYSCONFDIR)/init.d $(D)$(SENDMAILCF)/feature $(D)$(MANDIR)/man3 $(D)$(MANDIR)/man5 $(D)$(MANDIR)/man8
	$(INSTALL) -m 755 $(B)/dracd $(D)$(SBINDIR)/dracd
	ln -sf dracd $(D)$(SBINDIR)/rpc.dracd
ifneq ($(CTL),)
	$(INSTALL) -d $(D)$(BASHDIR) $(D)$(ZSHDIR)
	$(INSTALL) -m 755 $(B)/dracctl $(D)$(SBINDIR)/dracctl
	$(INSTALL) -m 644 dracctl/completion.bash $(D)$(BASHDIR)/dracctl
	$(INSTALL) -m 644 dracctl/completion.zsh $(D)$(ZSHDIR)/_dracctl
endif
	$(INSTALL) -m 755 $(B)/libdrac.so.1 $(D)$(LIBDIR)/libdrac.so.1
	ln -sf libdrac.so.1 $(D)$(LIBDIR)/libdrac.so
	$(INSTALL) -m 644 $(B)/libdrac.a $(D)$(LIBDIR)/libdrac.a
	$(INSTALL) -m 644 libdrac/drac.h $(D)$(INCLUDEDIR)/drac.h
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	    -e 's|@VERSION@|$(VERSION)|' libdrac/libdrac.pc.in > $(D)$(LIBDIR)/pkgconfig/libdrac.pc
	for n in 3 5 8; do $(INSTALL) -m 644 man/*.$$n $(D)$(MANDIR)/man$$n/ || exit 1; done
	ln -sf dracd.8 $(D)$(MANDIR)/man8/rpc.dracd.8
	$(INSTALL) -m 644 sendmail-cf/feature/dracd.m4 $(D)$(SENDMAILCF)/feature/dracd.m4
	$(INSTALL) -m 644 README.md CHANGES.md SECURITY.md LICENSE dracd.allow.sample sendmail-cf/*.mc sendmail-cf/helpfile $(D)$(DOCDIR)/
	$(INSTALL) -m 644 sendmail-cf/README $(D)$(DOCDIR)/README.sendmail
	sed 's|@SBINDIR@|$(SBINDIR)|g' systemd/dracd.service > $(D)$(UNITDIR)/dracd.service
	$(INSTALL) -m 644 systemd/dracd.sysusers $(D)$(SYSUSERSDIR)/dracd.conf
	$(INSTALL) -m 644 systemd/dracd.tmpfiles $(D)$(TMPFILESDIR)/dracd.conf
	sed 's|@SBINDIR@|$(SBINDIR)|g' init/dracd > $(D)$(SYSCONFDIR)/init.d/dracd
	chmod 755 $(D)$(SYSCONFDIR)/init.d/dracd
	install/link-map '$(D)$(SYSCONFDIR)/mail/dracd.db' '$(STATEDIR)/dracd.db'
	$(MAKE) --no-print-directory install-hooks
	@[ -n "$(D)" ] || ldconfig

# Those that were built; README.md says what each is for.
SNIPPETS   = mta integrations/dovecot integrations/exec integrations/pam integrations/watch
install-hooks: $(HOOKS)
	$(INSTALL) -d $(D)$(BINDIR) $(D)$(PAMDIR) $(D)$(MANDIR)/man1 $(D)$(MANDIR)/man7
	$(INSTALL) -m 755 $(B)/dracexec $(D)$(BINDIR)/dracexec
	for n in 1 7; do $(INSTALL) -m 644 man/*.$$n $(D)$(MANDIR)/man$$n/ || exit 1; done
	for d in $(SNIPPETS); do $(INSTALL) -d $(D)$(DOCDIR)/$$d && \
	    find $$d -type f ! -name '*.[ch]' ! -name '*.map' \
	    -exec $(INSTALL) -m 644 {} $(D)$(DOCDIR)/$$d/ \; || exit 1; done
ifneq ($(PAM),)
	$(INSTALL) -m 644 $(B)/pam_drac.so $(D)$(PAMDIR)/pam_drac.so
endif
# Not one that was built for another Dovecot than this host's.
ifneq ($(wildcard /usr/include/dovecot/config.h),)
	$(INSTALL) -d $(D)$(DOVECOTDIR)/settings
	$(INSTALL) -m 644 $(B)/dovecot/lib99_drac_plugin.so $(D)$(DOVECOTDIR)/
	$(if $(DOVECOT_SETTINGS),$(INSTALL) -m 644 $(B)/dovecot/libdrac_settings.so $(D)$(DOVECOTDIR)/settings/)
endif
ifneq ($(WATCH),)
	$(INSTALL) -m 755 $(B)/dracwatch $(D)$(SBINDIR)/dracwatch
	sed 's|@SBINDIR@|$(SBINDIR)|g' integrations/watch/dracwatch.service > $(D)$(UNITDIR)/dracwatch.service
	$(INSTALL) -m 644 integrations/watch/dracwatch.sysusers $(D)$(SYSUSERSDIR)/dracwatch.conf
	install/keep-changed integrations/watch/patterns '$(D)$(SYSCONFDIR)/mail/dracwatch.patterns'
endif

uninstall:
	rm -f $(D)$(SBINDIR)/dracd $(D)$(SBINDIR)/rpc.dracd $(D)$(LIBDIR)/libdrac.so* $(D)$(LIBDIR)/libdrac.a \
	    $(D)$(INCLUDEDIR)/drac.h $(D)$(LIBDIR)/pkgconfig/libdrac.pc $(D)$(SENDMAILCF)/feature/dracd.m4 \
	    $(D)$(UNITDIR)/dracd.service $(D)$(SYSUSERSDIR)/dracd.conf $(D)$(TMPFILESDIR)/dracd.conf \
	    $(D)$(SYSCONFDIR)/init.d/dracd $(D)$(MANDIR)/man8/rpc.dracd.8 \
	    $(D)$(SBINDIR)/dracctl $(D)$(BASHDIR)/dracctl $(D)$(ZSHDIR)/_dracctl \
	    $(D)$(BINDIR)/dracexec $(D)$(SBINDIR)/dracwatch $(D)$(UNITDIR)/dracwatch.service \
	    $(D)$(PAMDIR)/pam_drac.so $(D)$(DOVECOTDIR)/lib99_drac_plugin.so \
	    $(D)$(DOVECOTDIR)/settings/libdrac_settings.so $(D)$(SYSUSERSDIR)/dracwatch.conf \
	    $(foreach m,$(MANUALS),$(D)$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m)))
	rm -rf $(D)$(DOCDIR)
	@echo "kept: $(SYSCONFDIR)/mail, $(STATEDIR)"

-include $(wildcard $(OBJ)/*/*.d $(OBJ)/*/*/*.d $(B)/unit/*.d $(B)/tools/*.d $(B)/fuzz_*.d)

clean:
	rm -rf $(B)
.PHONY: dovecot-2.4 all tests-build fuzz-build deps test-deps run demo check coverage valgrind tsan bench bench-build bench-scaling fuzz fuzz-nightly torture soak hostile lint install install-hooks uninstall clean
.DELETE_ON_ERROR:
