"""
signing: signed calls, made by hand from what libdrac/sign.h says, with
whatever is wrong in them that a test wants; and a daemon that demands them.
"""

import hashlib
import hmac
import os
import struct
import time

import pytest

import rpcraw

FLAVOR = 0x20d7ac01
WINDOW_S = 300
NAME, SECRET = "pop1", "vT3Qk0yZl8eW5m1sXr9uB7cN4hJ6gPaD"
REJECTEDCRED, BADCRED, BADVERF, REJECTEDVERF = 2, 1, 3, 4
BOTH = pytest.mark.parametrize("transport", ["udp", "tcp"])
PLACES = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


def mac(key, data):
    key = key.encode() if isinstance(key, str) else key
    return hmac.new(key, data, hashlib.sha256).digest()


def credential(name=NAME, time_s=None, nonce=None, scheme=1):
    name = name.encode()
    return struct.pack(">IQ16sI", scheme,
                       int(time.time()) if time_s is None else time_s,
                       nonce or os.urandom(16), len(name)) + \
        name + bytes(-len(name) % 4)


def sign(message, mac_at, secret=SECRET):
    """The message with its MAC; and the MAC."""
    zero = message[:mac_at] + bytes(32) + message[mac_at + 32:]
    tag = mac(secret, zero)
    return message[:mac_at] + tag + message[mac_at + 32:], tag


def call(vers, proc, args=b"", *, secret=SECRET, cred=None, xid=None, **parts):
    """(message, MAC) of a signed call; parts: of credential()."""
    cred = cred or credential(**parts)
    message = rpcraw.call(vers, proc, args, xid=xid, cred=(FLAVOR, cred),
                          verf=(FLAVOR, bytes(32)))
    return sign(message, len(message) - len(args) - 32, secret)


def reply_key(tag, secret=SECRET):
    return mac(secret, b"drac reply" + tag)


def is_signed(reply, tag, secret=SECRET):
    """Whether an accepted reply is rightly signed."""
    if struct.unpack_from(">3I", reply, 8) != (0, FLAVOR, 32):
        return False
    return sign(reply, 20, reply_key(tag, secret))[0] == reply


def sign_reply(reply, tag, secret=SECRET):
    """An unsigned accepted reply with a signature."""
    signed = reply[:12] + struct.pack(">II", FLAVOR, 32) + bytes(32) + \
        reply[20:]
    return sign(signed, 20, reply_key(tag, secret))[0]


def exchange(carrier, message):
    """The bytes of the reply, or NoAnswer."""
    carrier.send(message)
    return carrier.receive()


# ---- a daemon with keys -------------------------------------------------------

def write_key(path, text="%s %s" % (NAME, SECRET), mode=0o600):
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


def give_keys(daemon, **files):
    """Its configuration names these keys from now on; an old set goes."""
    if not hasattr(daemon, "keys"):
        plain = daemon.write_config

        def write_config():
            plain()
            with open(daemon.conf, "a") as conf:
                for name, file in daemon.keys.items():
                    conf.write('key "%s" { file = "%s" }\n' % (name, file))

        daemon.write_config = write_config
    daemon.keys = files
    return daemon


@pytest.fixture
def keyed(dracd, tmp_path):
    """A running daemon: 127.0.0.1 and ::1 must sign with key pop1."""
    daemon = dracd()
    give_keys(daemon, pop1=write_key(tmp_path / "pop1.key"),
                      other=write_key(tmp_path / "other.key",
                                              "x" * 40))
    daemon.allow.write_text("127.0.0.1 key=pop1\n::1 key=pop1\n"
                            "127.0.0.2\n"
                            "127.0.0.3 tcp\n"
                            "host 127.0.0.4 key=pop1 tcp\n"
                            "255.255.255.255 127.0.0.5 tcp key=other\n"
                            "127.0.0.6 key=other\n127.0.0.6/32 tcp\n")
    return daemon.start()


def listed(daemon):
    with daemon.client("unix") as client:
        return set(client.table())
