# SPDX-License-Identifier: GPL-3.0-or-later
"""
Garbage collection of a directory as a backup server does it, from the
description of the format and without any of the program's code: sections 1.6,
1.8 and 11.
"""
import fcntl
import os
import re
import struct
import subprocess
import sys
import time

CUTOFF = 24 * 3600 + 5 * 60
DIGEST = re.compile(r"[0-9a-f]{64}")
CHUNK = re.compile(r"[0-9a-f]{64}(\.[0-9]\.bad)?")
FIDX = bytes.fromhex("2f7f41ed91fd0fcd")
DIDX = bytes.fromhex("1c914ea519bab3cd")


class Busy(Exception):
    """Another process writes."""


def index_digests(path):
    """Those of an index file; ValueError if it is none."""
    with open(path, "rb") as f:
        data = f.read()
    if data[:8] == FIDX:
        size, chunk = struct.unpack_from("<QQ", data, 64)
        n = -(-size // chunk)
        if len(data) != 4096 + 32 * n:
            raise ValueError(path)
        return [data[4096 + 32 * i:][:32].hex() for i in range(n)]
    if data[:8] == DIDX and (len(data) - 4096) % 40 == 0:
        return [data[4096 + 40 * i + 8:][:32].hex()
                for i in range((len(data) - 4096) // 40)]
    raise ValueError(path)


def indices(base):
    """All below base, but for what is hidden."""
    for top, dirs, files in os.walk(base):
        dirs[:] = [d for d in dirs if not d.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.endswith((".fidx", ".didx")):
                yield os.path.join(top, name)


def referenced(base):
    return {d for path in indices(base) for d in index_digests(path)}


def chunk_path(base, digest):
    return os.path.join(base, ".chunks", digest[:4], digest)


def touch(path):
    """Used now; False if it is not there."""
    try:
        st = os.stat(path, follow_symlinks=False)
        os.utime(path, ns=(time.time_ns(), st.st_mtime_ns),
                 follow_symlinks=False)
        return True
    except FileNotFoundError:
        return False


def collect(base, cutoff=CUTOFF):
    """The names of what was removed; Busy."""
    with open(os.path.join(base, ".lock"), "r+b") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise Busy from e
        return _collect(base, cutoff)


def _collect(base, cutoff):
    oldest = int(time.time()) - cutoff
    for digest in referenced(base):
        if not touch(chunk_path(base, digest)):
            for n in range(10):
                touch(chunk_path(base, digest) + f".{n}.bad")
    removed = set()
    for top in sorted(os.listdir(os.path.join(base, ".chunks"))):
        where = os.path.join(base, ".chunks", top)
        if not re.fullmatch("[0-9a-f]{4}", top):
            continue
        for name in os.listdir(where):
            path = os.path.join(where, name)
            if name.endswith(".using") and DIGEST.fullmatch(name[:64]):
                os.unlink(path)
            elif CHUNK.fullmatch(name) and \
                    int(os.lstat(path).st_atime) < oldest:
                os.unlink(path)
                removed.add(name)
    return removed


class Holder:
    """Another process that has the store's lock, as a server's has."""
    def __init__(self, base, exclusive):
        how = "LOCK_EX" if exclusive else "LOCK_SH"
        self.proc = subprocess.Popen(
            [sys.executable, "-c",
             "import fcntl, sys\n"
             f"f = open({base + '/.lock'!r}, 'r+b')\n"
             f"fcntl.lockf(f, fcntl.{how} | fcntl.LOCK_NB)\n"
             "print('held', flush=True)\nsys.stdin.read()\n"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.proc.stdout.readline() == b"held\n"

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.proc.communicate()
