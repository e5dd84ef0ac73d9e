"""Reads an LMDB map as Postfix does: without LMDB's own locks, under fcntl's."""

import ctypes
import fcntl

_NOSUBDIR, _RDONLY, _NOLOCK = 0x4000, 0x20000, 0x400000
_FIRST, _NEXT, _NOTFOUND = 0, 8, -30798
_MAP_BYTES = 1 << 30


class _Value(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("data", ctypes.c_void_p)]

    def bytes(self):
        return ctypes.string_at(self.data, self.size)


def _check(status):
    assert status == 0, f"LMDB: error {status}"


def _pairs(lmdb, env):
    txn, cursor = ctypes.c_void_p(), ctypes.c_void_p()
    dbi, key, value = ctypes.c_uint(), _Value(), _Value()
    _check(lmdb.mdb_txn_begin(env, None, _RDONLY, ctypes.byref(txn)))
    _check(lmdb.mdb_dbi_open(txn, None, 0, ctypes.byref(dbi)))
    _check(lmdb.mdb_cursor_open(txn, dbi, ctypes.byref(cursor)))
    step = _FIRST
    while True:
        status = lmdb.mdb_cursor_get(cursor, ctypes.byref(key),
                                     ctypes.byref(value), step)
        if status == _NOTFOUND:
            return
        _check(status)
        yield key.bytes(), value.bytes()
        step = _NEXT


def read(path):
    """{key: value} in bytes."""
    lmdb = ctypes.CDLL("liblmdb.so.0")
    env = ctypes.c_void_p()
    # Not by another open file: closing that would end the lock, fcntl(2).
    _check(lmdb.mdb_env_create(ctypes.byref(env)))
    try:
        _check(lmdb.mdb_env_set_mapsize(env, ctypes.c_size_t(_MAP_BYTES)))
        _check(lmdb.mdb_env_open(env, str(path).encode(),
                                 _NOSUBDIR | _RDONLY | _NOLOCK, 0o644))
        fd = ctypes.c_int()
        _check(lmdb.mdb_env_get_fd(env, ctypes.byref(fd)))
        fcntl.lockf(fd.value, fcntl.LOCK_SH)
        return dict(_pairs(lmdb, env))
    finally:
        lmdb.mdb_env_close(env)
