# SPDX-License-Identifier: GPL-3.0-or-later
"""A cache far smaller than the data, and those that fight for it."""
import concurrent.futures
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from pbs3fs_test import fixtures, listing, pbsgen
from pbs3fs_test.mount import wait_for

CHUNKS = 48
LIMIT = 24 << 20


@pytest.fixture(scope="module")
def big(scratch, gateway, credentials):
    """An image and a tree, together a few hundred MiB that do not compress,
    as a directory and as a bucket."""
    from conftest import Bucket
    top = os.path.join(scratch, "big")
    s = pbsgen.Store(top)
    snap = s.snapshot("vm", "1")
    snap.fixed("d.img.fidx", [pbsgen.noise(4 << 20, i)
                              for i in range(CHUNKS)])
    snap.finish()
    tree = s.snapshot("host", "h")
    a = pbsgen.Pxar(split=True)
    for i in range(50):
        a.file(b"f%02d" % i, pbsgen.noise(1 << 20, 1000 + i))
    pbsgen.add_archive(tree, "root", a, 1 << 20)
    tree.finish()
    gateway.load("big", fixtures.store_objects(top, "store"))
    b = Bucket(gateway, "big", "store", credentials)
    b.dir = top
    b.image = os.path.join(snap.rel, "d.img")
    b.tree = os.path.join(tree.rel, "root")
    yield b
    shutil.rmtree(top)


def disk_usage(path):
    """What du says, without a process of its own: a fork has to flush the
    files of a mount, which a daemon that stands still does not answer."""
    total = 0
    for parent, _, files in os.walk(path):
        for name in [parent, *(os.path.join(parent, f) for f in files)]:
            try:
                total += os.lstat(name).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


def gone(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0] == "Z"


def all_stopped(pid):
    """A thread inside of a system call stops when that is done."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as f:
            if f.read().rpartition(")")[2].split()[0] != "T":
                return False
    return True


class Watch:
    """The most that the cache ever held while something ran.  The daemon
    stands still for each look: du would count what came after what went."""
    def __init__(self, path, pid):
        self.path, self.pid, self.most, self.stop = path, pid, 0, False
        self.pool = concurrent.futures.ThreadPoolExecutor(1)

    def __enter__(self):
        def loop():
            while not self.stop and not gone(self.pid):
                os.kill(self.pid, signal.SIGSTOP)
                try:
                    end = time.monotonic() + 5
                    while not all_stopped(self.pid):
                        assert time.monotonic() < end, "it does not stop"
                        time.sleep(0.001)
                    self.most = max(self.most, disk_usage(self.path))
                finally:
                    os.kill(self.pid, signal.SIGCONT)
                time.sleep(0.05)
        self.job = self.pool.submit(loop)
        return self

    def __exit__(self, *_):
        self.stop = True
        self.job.result()
        self.pool.shutdown()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("pattern", ["read", "randread"])
def test_fio(pattern, big, mounts, tmp):
    """fio reads in its patterns while the cache turns over; then all of the
    image is what it has to be."""
    cache = os.path.join(tmp, "cache")
    m = mounts(big.store, f"cache={cache}", f"cache-size={LIMIT}",
               f"state={tmp}/s", "memory=32M", *big.options())
    with Watch(cache, m.pid) as w:
        p = subprocess.run(
            ["fio", "--name=t", "--readonly",
             "--filename=" + (m / big.image).replace(":", "\\:"),
             f"--rw={pattern}", "--bs=64k", "--numjobs=4", "--iodepth=8",
             "--ioengine=libaio", "--direct=0",
             f"--size={CHUNKS * 4 if pattern == 'randread' else CHUNKS}m",
             "--io_size=64m", "--group_reporting", "--output-format=json",
             f"--offset_increment={CHUNKS if pattern == 'read' else 0}m"],
            stdout=subprocess.PIPE, check=True)
    job = json.loads(p.stdout)["jobs"][0]
    assert job["error"] == 0
    assert job["read"]["io_bytes"] >= 64 << 20
    assert 0 < w.most <= LIMIT, w.most
    want = hashlib.sha256()
    for i in range(CHUNKS):
        want.update(pbsgen.noise(4 << 20, i))
    assert listing.sha256_file(m / big.image)[1] == want.hexdigest()


@pytest.mark.thread
@pytest.mark.timeout(400)
def test_fifty_readers(big, mounts, tmp):
    """Everybody reads elsewhere, the cache turns over many times."""
    cache = os.path.join(tmp, "cache")
    m = mounts(big.store, f"cache={cache}", f"cache-size={LIMIT}",
               f"state={tmp}/s", "memory=32M", *big.options())
    image = m / big.image
    want = [hashlib.sha256(pbsgen.noise(4 << 20, i)).digest()
            for i in range(CHUNKS)]
    files = [hashlib.sha256(pbsgen.noise(1 << 20, 1000 + i)).digest()
             for i in range(50)]

    def reader(seed):
        r = random.Random(seed)
        for _ in range(6):
            if r.random() < 0.5:
                n = r.randrange(CHUNKS)
                with open(image, "rb", buffering=0) as f:
                    b = os.pread(f.fileno(), 4 << 20, n * (4 << 20))
                    while len(b) < 4 << 20:
                        b += os.pread(f.fileno(), (4 << 20) - len(b),
                                      n * (4 << 20) + len(b))
                assert hashlib.sha256(b).digest() == want[n]
            else:
                n = r.randrange(50)
                with open(m / big.tree + "/f%02d" % n, "rb") as f:
                    assert hashlib.sha256(f.read()).digest() == files[n]

    with Watch(cache, m.pid) as w, \
            concurrent.futures.ThreadPoolExecutor(50) as pool:
        list(pool.map(reader, range(50)))
    assert 0 < w.most <= LIMIT, w.most
    status = m.status()
    assert status["cache"]["used"] <= LIMIT
    assert status["cache"]["evictions"] > 0


def test_no_cache(big, mounts, tmp):
    """Size 0: everything reads, nothing is kept."""
    cache = os.path.join(tmp, "cache")
    m = mounts(big.store, f"cache={cache}", "cache-size=0",
               f"state={tmp}/s", *big.options())
    with open(m / big.tree + "/f00", "rb") as f:
        assert f.read() == pbsgen.noise(1 << 20, 1000)
    assert disk_usage(cache) <= 64 << 10


def test_reopened(big, mounts, tmp):
    """What was cached still is after a restart, and a cache that grew too
    large for a new limit shrinks."""
    opts = [f"cache={tmp}/cache", f"state={tmp}/s", *big.options()]
    m = mounts(big.store, "cache-size=200M", *opts)
    for i in range(20):
        with open(m / big.tree + "/f%02d" % i, "rb") as f:
            f.read()
    m.stop()
    mark = big.gateway.mark()
    m = mounts(big.store, "cache-size=200M", *opts)
    for i in range(20):
        with open(m / big.tree + "/f%02d" % i, "rb") as f:
            assert f.read() == pbsgen.noise(1 << 20, 1000 + i)
    assert big.gateway.counts(mark).get("GET", 0) == 0
    m.stop()
    m = mounts(big.store, "cache-size=8M", *opts)
    with open(m / big.tree + "/f40", "rb") as f:
        f.read()
    wait_for(lambda: disk_usage(f"{tmp}/cache") <= 8 << 20, 10,
             "the cache to shrink")


def test_damaged_cache(big, mounts, tmp):
    """Rot in the cache costs a fetch, not an error."""
    opts = [f"cache={tmp}/cache", f"state={tmp}/s", "cache-size=200M",
            *big.options()]
    m = mounts(big.store, *opts)
    with open(m / big.tree + "/f01", "rb") as f:
        f.read()
    m.stop()
    hurt = 0
    for parent, _, files in os.walk(f"{tmp}/cache"):
        for name in files:
            path = os.path.join(parent, name)
            if os.path.getsize(path) > 4096:
                with open(path, "r+b") as f:
                    f.seek(2000)
                    f.write(b"rot")
                hurt += 1
    assert hurt
    m = mounts(big.store, *opts)
    with open(m / big.tree + "/f01", "rb") as f:
        assert f.read() == pbsgen.noise(1 << 20, 1001)
    assert m.errors() == ""


def test_full_disk(big, mounts, tmp):
    """A cache disk that is full or read-only means reading without, and one
    warning."""
    disk = os.path.join(tmp, "disk")
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk],
                   check=True)
    try:
        m = mounts(big.store, f"cache={disk}/c", f"state={tmp}/s",
                   "cache-size=200M", "cache-floor=0", *big.options())
        for i in range(12):
            with open(m / big.tree + "/f%02d" % i, "rb") as f:
                assert f.read() == pbsgen.noise(1 << 20, 1000 + i)
        assert m.log().count("cache") <= 3, m.log()
        m.stop()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        m = mounts(big.store, f"cache={disk}/c", f"state={tmp}/s",
                   "cache-size=200M", *big.options(), name="ro")
        with open(m / big.tree + "/f30", "rb") as f:
            assert f.read() == pbsgen.noise(1 << 20, 1030)
        m.stop()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.sanitize
def test_memory_is_bounded(big, mounts, tmp):
    """Reading far more than the memory limit leaves the daemon small."""
    m = mounts(big.dir, "memory=32M", f"cache={tmp}/c", f"state={tmp}/s")
    subprocess.run(["sha256sum", m / big.image], check=True,
                   stdout=subprocess.PIPE)
    stats = m.status()
    assert stats["memory"]["used"] <= 32 << 20
