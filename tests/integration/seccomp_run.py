#!/usr/bin/python3
"""
seccomp_run: runs a command under the system call filter of a systemd unit,
without systemd as process 1:

    seccomp_run.py UNIT COMMAND...

What the unit's SystemCallFilter= names is asked of systemd-analyze(1); the
filter is made and installed by hand (seccomp(2)). Calls outside it fail with
EPERM, as SystemCallErrorNumber=EPERM has it. Also applied, since they are
filters of the same kind: RestrictAddressFamilies=, MemoryDenyWriteExecute=.
Exit status 77: it cannot be done here; the reason is on standard error.
"""

import ctypes
import os
import re
import struct
import subprocess
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, FAIL, KILL = 0x7fff0000, 0x00050000 | 1, 0x80000000      # 1: EPERM
AUDIT_ARCH_X86_64 = 0xc000003e
AT_NUMBER, AT_ARCH, AT_ARGUMENT = 0, 4, 16
LOAD, JUMP_EQ, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06
PROT_EXEC, PROT_WRITE = 4, 2
HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
CANNOT = 77


def cannot(reason):
    print("seccomp_run: %s" % reason, file=sys.stderr)
    sys.exit(CANNOT)


def settings(unit, name):
    """The values of a setting, words of all its lines."""
    lines = re.findall(r"^%s=(.*)$" % name, open(unit).read(), re.M)
    return [line.split() for line in lines]


def members(group):
    """The system calls of a @group, those of its groups included."""
    done = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter",
                           group], capture_output=True, text=True)
    if done.returncode != 0:
        cannot("systemd-analyze: " + done.stderr.strip())
    found = set()
    for line in done.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= members(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed(unit):
    """Names, as systemd.exec(5) puts them together."""
    names = members("@default")
    for words in settings(unit, "SystemCallFilter"):
        deny = words[0].startswith("~")
        words[0] = words[0].lstrip("~")
        for word in words:
            calls = members(word) if word.startswith("@") else {word}
            names = names - calls if deny else names | calls
    return names


def numbers():
    return {name: int(number) for name, number in re.findall(
        r"^#define __NR_(\w+) (\d+)$", open(HEADER).read(), re.M)}


def statement(code, k, jt=0, jf=0):
    return struct.pack("=HBBI", code, jt, jf, k)


def families(unit):
    import socket
    words = sum(settings(unit, "RestrictAddressFamilies"), [])
    return [int(getattr(socket, word)) for word in words]


def program(unit):
    number = numbers()
    code = [statement(LOAD, AT_ARCH),
            statement(JUMP_EQ, AUDIT_ARCH_X86_64, 1, 0),
            statement(RETURN, KILL),
            statement(LOAD, AT_NUMBER)]
    known = sorted(number[name] for name in allowed(unit) if name in number)
    if settings(unit, "RestrictAddressFamilies"):
        code += checked(number["socket"], 0, [
            statement(JUMP_EQ, family, 0, 1) + statement(RETURN, ALLOW)
            for family in families(unit)] + [statement(RETURN, FAIL)])
        known.remove(number["socket"])
    if settings(unit, "MemoryDenyWriteExecute") == [["yes"]]:
        code += checked(number["mmap"], 2, [
            statement(JUMP_SET, PROT_EXEC, 0, 2) +
            statement(JUMP_SET, PROT_WRITE, 0, 1) + statement(RETURN, FAIL)])
        code += checked(number["mprotect"], 2, [
            statement(JUMP_SET, PROT_EXEC, 0, 1) + statement(RETURN, FAIL)])
    for call in known:
        code += [statement(JUMP_EQ, call, 0, 1), statement(RETURN, ALLOW)]
    return b"".join(code + [statement(RETURN, FAIL)])


def checked(call, argument, body):
    """The body, with that argument loaded, when it is that call."""
    inner = statement(LOAD, AT_ARGUMENT + 8 * argument) + b"".join(body) + \
        statement(LOAD, AT_NUMBER)
    return [statement(JUMP_EQ, call, 0, len(inner) // 8), inner]


class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install(code):
    libc = ctypes.CDLL(None, use_errno=True)
    fprog = Program(len(code) // 8, code)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or \
            libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                       ctypes.byref(fprog), 0, 0) != 0:
        cannot("no seccomp filter: " + os.strerror(ctypes.get_errno()))


def main():
    if os.uname().machine != "x86_64" or not os.path.exists(HEADER):
        cannot("only on x86_64, with %s" % HEADER)
    code = program(sys.argv[1])
    install(code)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
