"""
libdrac: the calls of version 3, what the library does to the program that it
is in, and the files that are installed.
"""

import pathlib
import re
import shutil
import subprocess

import pytest

from libdrac_steps import (ADDRESS, ADDRESS6, REFUSED, SUCCESS, TIMED_OUT,
                           at_once, calls, environment, execute, expect, parse,
                           rpcbind_there, stress, the_world, tool, world)
from libdrac_world import (DEAD, ROOT, START_S)

# ---- version 3 -----------------------------------------------------------------

class TestCalls:
    def test_accounts_and_events(self, world, calls):
        world.peer("answer", "udp:127.0.0.1:5901", "tcp:127.0.0.1:5901")
        rows = calls("127.0.0.1:5901",
                     "add", ADDRESS, 60, "joe", "pop3",
                     "add", ADDRESS6, 60, "ann", "imap",
                     "account", ADDRESS, "events", 0, "events", 9,
                     "events", 2, "events", 32)
        assert [(row[0], row[2]) for row in rows[2:]] == [
            (0, "1999999800 1999999900 9223372036854775809 " + "c" * 63),
            (3, "no room for an event"),
            (0, "cookie 7 lost 0"),
            (0, "cookie 14 lost 7 0,2000000000,%s,ann 1,1999999999,%s,joe" %
             (ADDRESS6, ADDRESS)),
            (0, "cookie 21 lost 14 0,2000000000,%s,ann 1,1999999999,%s,joe "
             "4,2000000000,," % (ADDRESS6, ADDRESS))]

    @pytest.mark.parametrize("server", ["127.0.0.1:5901", "[::1]:5901",
                                        "unix:/run/p.sock"])
    def test_all_five(self, world, calls, server):
        peer = world.peer("answer", "udp:127.0.0.1:5901", "udp:[::1]:5901",
                          "tcp:127.0.0.1:5901", "tcp:[::1]:5901",
                          "unix:/run/p.sock")
        user, service = "u" * 255, "s" * 32
        rows = calls(
            server,
            "add", ADDRESS, 60, "j\u00f6rg", "pop3",
            "add", "::ffff:192.0.2.2", 0, "", "",
            "add", ADDRESS6, 4294967295, user, service,
            "query", ADDRESS, "query", "192.0.2.2", "query", ADDRESS6,
            "query", "192.0.2.3",
            "list", 2, "stats", 9, "stats", 1,
            "remove", ADDRESS, "remove", ADDRESS, "list", 32)
        assert [(row[0], row[2]) for row in rows] == [
            (0, "2000000000")] * 3 + [
            (0, ADDRESS + " 2000000000 j\u00f6rg pop3"),
            (0, "192.0.2.2 2000000000  "),
            (0, "%s 2000000000 %s %s" % (ADDRESS6, user, service)),
            (4, "Server reports no such entry"),
            (0, "2 pages, 3 entries, last 192.0.2.2  "),
            (0, "entries=3 big=18446744073709551615 "),
            (0, "entries=3 "),
            (0, "done"),
            (4, "Server reports no such entry"),
            (0, "1 pages, 2 entries, last 192.0.2.2  ")]
        assert "add 3 %s 60 j\u00f6rg pop3" % ADDRESS in world.calls_seen(peer)

    def test_many_pages(self, world, calls):
        world.peer("answer", "unix:/run/p.sock")
        adds = []
        for i in range(100):
            adds += ["add", "10.0.0.%d" % i, 60, "u" * 255, "s" * 32]
        row = calls("unix:/run/p.sock", *adds, "list", 1000)[-1]
        at_once(row, 0, "4 pages, 100 entries, last 10.0.0.99 %s %s" %
                ("u" * 255, "s" * 32))

    @pytest.mark.parametrize("status, text", [
        (1, "permission denied"), (2, "system error"),
        (3, "invalid argument"), (4, "no such entry")])
    def test_refusals(self, world, calls, status, text):
        world.peer("status=%d" % status, "unix:/run/p.sock")
        rows = calls("unix:/run/p.sock", "add", ADDRESS, 1, "", "", "remove",
                     ADDRESS, "query", ADDRESS, "list", 1, "stats", 1)
        assert [(row[0], row[2]) for row in rows] == [
            (status, "Server reports " + text)] * 5

    @pytest.mark.parametrize("step, text", [
        (["add", "host.test", 1, "", ""], "host.test: not an address"),
        (["add", "", 1, "", ""], ": not an address"),
        (["add", "fe80::1%lo", 1, "", ""], "fe80::1%lo: not an address"),
        (["remove", "1.2.3"], "1.2.3: not an address"),
        (["query", "1.2.3.4.5"], "1.2.3.4.5: not an address"),
        (["add", ADDRESS, 1, "u" * 256, ""], "user is longer than 255 bytes"),
        (["add", ADDRESS, 1, "", "s" * 33],
         "service is longer than 32 bytes"),
        (["list", 0], "no room for an entry")])
    def test_invalid(self, calls, step, text):
        at_once(calls("unix:/nowhere", *step)[0], 3, text)

    @pytest.mark.parametrize("server", ["127.0.0.1:5901", "live.test"])
    def test_old_server(self, world, rpcbind_there, calls, server):
        """DRAC 1.12 can add, and nothing else."""
        world.rpcbind()
        peer = world.peer("versions=1-2+register=5901+register-tcp",
                          "udp:127.0.0.1:5901", "tcp:127.0.0.1:5901")
        rows = calls(server, "add", ADDRESS, 60, "joe", "pop3", "add",
                     ADDRESS6, 60, "joe", "pop3", "query", ADDRESS, "remove",
                     ADDRESS)
        assert [(row[0], row[2]) for row in rows[:2]] == [(0, "0")] * 2
        mismatch = (server + ": RPC: Program/version mismatch; "
                    "low version = 1, high version = 2")
        for row in rows[2:]:
            at_once(row, 5, mismatch)
        seen = world.calls_seen(peer)
        assert seen[0] == "add 1 " + ADDRESS
        assert seen[1] == (
            "add 2 %s 0000002000000001" "0000000dffffffb8%s"
            "fffffffeffffff8000000000" "00000001" % (ADDRESS6, "0" * 64))

    @pytest.mark.parametrize("status, result, text", [
        (1, 1, "permission denied"), (2, 2, "system error"),
        (3, 2, "unknown error"), (4, 2, "unknown error")])
    def test_old_refusals(self, world, calls, status, result, text):
        world.peer("versions=1-2+status=%d" % status, "udp:127.0.0.1:5901")
        at_once(calls("127.0.0.1:5901", "add", ADDRESS, 1, "", "")[0], result,
                "Server reports " + text)

    def test_server_restarts(self, world, build):
        """The kept connection is dead: the call finds the new server."""
        for endpoint in ("unix:/run/p.sock", "udp:127.0.0.1:5901"):
            server = endpoint.replace("udp:", "")
            peer = world.peer("answer", endpoint)
            user = world.start([tool(build, "libdrac_calls"), server, 0,
                                "add", ADDRESS, 1, "", "", "pause",
                                "add", ADDRESS6, 1, "", ""],
                               env=environment())
            assert parse(user.stdout.readline())[0][0] == 0
            expect(user, "paused")
            world.stop_but(user)
            peer = world.peer("answer", endpoint)
            user.stdin.write("\n")
            user.stdin.flush()
            at_once(parse(user.stdout.readline())[0], 0, "2000000000")
            assert user.wait(START_S) == 0
            assert world.calls_seen(peer) == ["add 3 %s 1  " % ADDRESS6]

    def test_server_dies_between_conn_and_send(self, world, build):
        peer = world.peer("answer", "udp:127.0.0.1:5901")
        user = world.start([tool(build, "libdrac_classic"), "conn",
                            "127.0.0.1", "send", ADDRESS, "pause", "send",
                            ADDRESS, "disc"], env=environment())
        assert [parse(user.stdout.readline())[0][0]
                for _ in range(2)] == [0, 0]
        expect(user, "paused")
        world.stop(peer)
        user.stdin.write("\n")
        user.stdin.flush()
        at_once(parse(user.stdout.readline())[0], -2, REFUSED)
        at_once(parse(user.stdout.readline())[0], 0, "Disconnect succeeded")
        assert user.wait(START_S) == 0


# ---- in a program --------------------------------------------------------------

class TestPrograms:
    @pytest.mark.parametrize("server, count", [
        ("127.0.0.1:9", 1000), ("unix:/nowhere", 1000), ("live.test", 1000),
        ("unix:/run/p.sock", 1000), ("nobody.test", 1000)])
    def test_descriptors(self, world, stress, server, count):
        world.peer("reset", "unix:/run/p.sock")
        output = stress("calls", server, count)
        print(output)
        assert output.startswith("%d of %d failed" % (count, count))

    @pytest.mark.parametrize("server", ["127.0.0.1:5901", "unix:/run/p.sock"])
    def test_threads(self, world, stress, server):
        world.peer("answer", "udp:127.0.0.1:5901", "tcp:127.0.0.1:5901",
                   "unix:/run/p.sock", quiet=True)
        stress("threads", server, 100)
        stress("connection", server, 200)
        stress("fork", server, 100)

    def test_threads_at_bad_servers(self, world, stress):
        world.peer("silent", "udp:127.0.0.1:5901")
        world.peer("drip", "unix:/run/drip.sock")
        world.peer("noise-only", "udp:127.0.0.1:5902")
        world.peer("reset", "unix:/run/reset.sock")
        world.nameserver(DEAD)
        stress("bad", "127.0.0.1:5901", "unix:/run/drip.sock",
               DEAD + ":5901", "127.0.0.1:5902", "unix:/run/reset.sock",
               "nobody.test", "unix:/nowhere", "dead.test:5901")

    def test_texts(self, stress):
        stress("texts", "127.0.0.1", "unix:/nowhere")

    @pytest.mark.parametrize("server", ["127.0.0.1:5901", "unix:/run/p.sock"])
    def test_high_descriptors(self, world, stress, server):
        world.peer("answer", "udp:127.0.0.1:5901", "tcp:127.0.0.1:5901",
                   "unix:/run/p.sock")
        stress("high", server)

    @pytest.mark.parametrize("server, result", [
        (DEAD + ":5901", "-2 " + TIMED_OUT),
        ("unix:/run/p.sock", "-2 " + TIMED_OUT),
        ("nobody.test", "-1 nobody.test: RPC: Unknown host")])
    def test_signals(self, world, stress, server, result):
        world.peer("drip", "unix:/run/p.sock")
        world.nameserver(DEAD)
        output = stress("signals", server)
        print(output)
        assert output.startswith(result + " (")

    def test_library_is_closed(self, world, build):
        """As PAM does, while the resolver is still being waited for."""
        if "asan" in output_of("nm", tool(build, "libdrac_dlclose")):
            pytest.skip("a sanitized library cannot be loaded late")
        world.nameserver(DEAD)
        library = pathlib.Path(build).resolve() / "libdrac.so.1"
        assert execute(world, build, "libdrac_dlclose", library,
                       "nobody.test") == (
            "nobody.test: RPC: Unknown host\nalone\n")

    def test_draccall(self, world, build):
        world.peer("answer", "udp:127.0.0.1:5901")
        for args, status in ((["127.0.0.1", ADDRESS], 0),
                             (["127.0.0.1", ADDRESS6], 0),
                             (["127.0.0.1:9", ADDRESS], 1)):
            done = subprocess.run(
                world.inside([tool(build, "draccall"), *args]),
                capture_output=True, text=True, env=environment())
            assert done.returncode == status
            text = done.stderr if status else done.stdout
            assert (REFUSED if status else SUCCESS) in text


# ---- the binary ------------------------------------------------------------------

CLASSIC = {"dracauth", "dracconn", "dracsend", "dracdisc", "dracauth6",
           "dracconn6", "dracsend6", "dracdisc6"}
STUBS = {"dracproc_add_1", "dracproc_add_2", "xdr_addstat",
         "xdr_drac_add_parm", "xdr_drac_add_parm6"}
CALLS = {"drac_open", "drac_close", "drac_add", "drac_remove", "drac_query",
         "drac_list", "drac_events", "drac_stats", "drac_error"}


def output_of(*command):
    return subprocess.run([str(word) for word in command], check=True,
                          capture_output=True, text=True).stdout


@pytest.fixture
def library(build):
    return pathlib.Path(build).resolve() / "libdrac.so.1"


def test_exported_symbols(library):
    lines = output_of("nm", "-D", "--defined-only", library).splitlines()
    names = {line.split()[2].split("@")[0] for line in lines
             if line.split()[1] != "A"}
    assert names == CLASSIC | STUBS | CALLS


def test_soname_and_needed(library):
    dynamic = output_of("readelf", "-d", library)
    assert "soname: [libdrac.so.1]" in dynamic
    assert "NEEDED" in dynamic and "[libtirpc.so.3]" in dynamic


def test_header_alone(tmp_path):
    """drac.h includes nothing of RPC, and C++ accepts it."""
    for compiler, name in (("cc", "a.c"), ("c++", "a.cc")):
        if shutil.which(compiler) is None:
            pytest.skip("no %s" % compiler)
        source = tmp_path / name
        source.write_text('#include "drac.h"\nint main(void) { return 0; }\n')
        output_of(compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                  "-I", ROOT / "libdrac", "-fsyntax-only", source)
        included = output_of(compiler, "-I", ROOT / "libdrac", "-M", source)
        assert "rpc" not in included.replace(str(tmp_path), "").replace(
            str(ROOT), "")


def test_old_program_runs(world, library, tmp_path):
    """
    A program linked to a libdrac.so.1 as it was, without symbol versions and
    without NEEDED, runs with ours put in its place.
    """
    if shutil.which("cc") is None:
        pytest.skip("no cc")
    stub = tmp_path / "stub.c"
    stub.write_text("".join("int %s(void) { return 99; }\n" % name
                            for name in sorted(CLASSIC | STUBS)))
    program = tmp_path / "old"
    output_of("cc", "-shared", "-fPIC", "-Wl,-soname,libdrac.so.1", "-o",
              tmp_path / "libdrac.so.1", stub)
    output_of("cc", "-o", program, ROOT / "tests/tools/libdrac_classic.c",
              tmp_path / "libdrac.so.1")
    # With the stub it says 99, so it is this name that is replaced.
    command = [program, "auth", "unix:/run/p.sock", ADDRESS, "auth6",
               "unix:/run/p.sock", ADDRESS6, "conn", "unix:/run/p.sock",
               "send", ADDRESS, "disc"]
    for directory, codes in ((tmp_path, [99] * 5), (library.parent, [0] * 5)):
        peer = world.peer("answer", "unix:/run/p.sock")
        done = subprocess.run(
            world.inside(command), capture_output=True, text=True,
            env=dict(environment(), LD_LIBRARY_PATH=str(directory)))
        assert [row[0] for row in parse(done.stdout)] == codes, done.stderr
        world.stop(peer)
        world.stop_all()


def test_static_library(build, tmp_path):
    """Everything the archive needs is libtirpc and what libc has."""
    if shutil.which("cc") is None:
        pytest.skip("no cc")
    if re.search("_[at]san_|_gcov_",
                 output_of("nm", pathlib.Path(build) / "libdrac.a")):
        pytest.skip("an instrumented archive needs more by its nature")
    program = tmp_path / "static"
    output_of("cc", "-o", program, ROOT / "tests/tools/draccall.c",
              pathlib.Path(build) / "libdrac.a", "-ltirpc")
    assert "libdrac" not in output_of("readelf", "-d", program)
