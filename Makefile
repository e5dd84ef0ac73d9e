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
UNITDIR   ?= /lib/systemd/system
SYSUSERSDIR?= /usr/lib/sysusers.d
TMPFILESDIR?= /usr/lib/tmpfiles.d
SENDMAILCF?= /usr/share/sendmail/cf

B         ?= build
SAN       ?=
PYTHON    ?= /usr/bin/python3
PKG_CONFIG?= pkg-config
INSTALL   ?= install

CFLAGS    ?= -O2 -g
WARN       = -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
             -Wstrict-prototypes -Wmissing-prototypes
ifdef CI
WARN      += -Werror
endif
HARDEN     = -fstack-protector-strong
SANFLAGS   = $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer \
             -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2)

DEPS       = libtirpc libconfuse zlib
SYSTEMD   := $(shell $(PKG_CONFIG) --exists libsystemd && echo libsystemd)
CPPFLAGS  += -D_GNU_SOURCE -I$(B)/gen -Ilibdrac \
             -DDRACD_VERSION='"$(VERSION)"' \
             $(if $(SYSTEMD),-DHAVE_SYSTEMD) \
             $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags $(DEPS) $(SYSTEMD)))
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) $(HARDEN) $(SANFLAGS) -fPIC
LDFLAGS   += -Wl,-z,relro,-z,now -Wl,--as-needed
DRACD_LIBS = $(shell $(PKG_CONFIG) --libs $(DEPS) $(SYSTEMD)) -ldb-5.3 -lwrap -lpthread
LIBDRAC_LIBS = $(shell $(PKG_CONFIG) --libs libtirpc)

GEN        = $(B)/gen/drac_prot.h $(B)/gen/drac_xdr.c
OBJ        = $(B)/obj
XDR_OBJ    = $(OBJ)/drac_xdr.o
ROOM_OBJ   = $(patsubst %.c,$(OBJ)/%.o,$(filter-out dracd/main.c,$(wildcard dracd/*.c))) $(XDR_OBJ)
LIB_OBJ    = $(patsubst %.c,$(OBJ)/%.o,$(wildcard libdrac/*.c)) $(XDR_OBJ)
UNIT       = $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
TOOLS      = $(patsubst tests/tools/%.c,$(B)/tools/%,$(wildcard tests/tools/*.c))
PRELOADS   = $(patsubst tests/preload/%.c,$(B)/preload/%.so,$(wildcard tests/preload/*.c))

all: $(B)/dracd $(B)/rpc.dracd $(B)/libdrac.so $(B)/libdrac.a
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
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libdrac.so.1 \
	    -Wl,--version-script=libdrac/libdrac.map -o $@ $(LIB_OBJ) $(LIBDRAC_LIBS)
$(B)/libdrac.so: $(B)/libdrac.so.1
	ln -sf libdrac.so.1 $@
$(B)/libdrac.a: $(LIB_OBJ)
	rm -f $@ && $(AR) rcs $@ $^

# A unit test sees the rooms of the daemon and the library, not main.c.
$(B)/unit/%: tests/unit/%.c $(ROOM_OBJ) $(B)/libdrac.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Idracd $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(ROOM_OBJ) \
	    $(B)/libdrac.a $(DRACD_LIBS) $(shell $(PKG_CONFIG) --libs cmocka)
# Helpers of the tests and the bench: load generators, preloads.
$(B)/tools/%: tests/tools/%.c $(B)/libdrac.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< \
	    $(B)/libdrac.a $(LIBDRAC_LIBS) -ldb-5.3 -lpthread

# Never sanitized: it goes into programs that may be.
$(B)/preload/%.so: tests/preload/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -std=gnu11 $(CFLAGS) $(WARN) -fPIC -shared -o $@ $< -ldl

# A row of figures takes half a second; all of it about eight minutes.
# PEER=address:port measures another drac server instead.
bench: all $(B)/tools/dracload $(B)/tools/draconce
	DRACD_BUILD=$(B) PEER=$(PEER) $(PYTHON) tests/bench/bench

-include $(wildcard $(OBJ)/*/*.d $(B)/unit/*.d $(B)/tools/*.d)

clean:
	rm -rf $(B)
.PHONY: all tests-build bench clean
.DELETE_ON_ERROR:
