# SPDX-License-Identifier: GPL-3.0-or-later
"""
S3 goes away, in every way it can: listings answer at once, what is cached
reads, the rest fails in time, and all is well when S3 is back.
"""
import contextlib
import errno
import os
import subprocess
import threading
import time

import pytest

from pbs3fs_test import fixtures, pbsgen
from pbs3fs_test.mount import wait_for

DEADLINE = 4
# What memory answers; a busy machine takes its time too.
AT_ONCE = 1.0


@contextlib.contextmanager
def killed(gateway):
    """Connections are refused."""
    gateway.sh("kill")
    try:
        yield
    finally:
        gateway.sh("start")


@contextlib.contextmanager
def frozen(gateway):
    """Connections are taken and nothing is ever said."""
    gateway.sh("pause")
    try:
        yield
    finally:
        gateway.sh("resume")


@contextlib.contextmanager
def dropped(gateway):
    """Packets vanish, both ways."""
    port = gateway.endpoint.rpartition(":")[2]
    table = "pbs3fs_test"
    rules = f"""
        table inet {table} {{
            chain out {{
                type filter hook output priority 0;
                tcp dport {port} drop
                tcp sport {port} drop
            }}
        }}"""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)


OUTAGES = {"killed": killed, "frozen": frozen, "dropped": dropped}


@pytest.fixture
def data(new_bucket, tmp):
    """A bucket with an image of six chunks and a tree of 30 files."""
    top = os.path.join(tmp, "store")
    s = pbsgen.Store(top)
    snap = s.snapshot("vm", "1")
    snap.fixed("d.img.fidx", [pbsgen.noise(4 << 20, i) for i in range(6)])
    snap.blob("a.conf.blob", b"text\n")
    snap.finish()
    other = s.snapshot("host", "h")
    a = pbsgen.Pxar()
    for i in range(30):
        a.file(b"f%02d" % i, pbsgen.noise(50000, 100 + i))
    pbsgen.add_archive(other, "root", a, 200000)
    other.finish()
    b = new_bucket(fixtures.store_objects(top, "store"))
    b.image = os.path.join(snap.rel, "d.img")
    b.snap, b.other = snap.rel, other.rel
    return b


def took(seconds, function, *args):
    start = time.monotonic()
    result = function(*args)
    spent = time.monotonic() - start
    assert spent < seconds, f"{function} took {spent:.1f} s"
    return result


def read_at(path, chunk):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return os.pread(fd, 4096, (chunk << 22) + 8192)
    finally:
        os.close(fd)


def must_fail(path, chunk):
    try:
        got = read_at(path, chunk)
    except OSError as e:
        assert e.errno == errno.EIO
        return
    right = got == pbsgen.noise(4 << 20, chunk)[8192:12288]
    raise AssertionError(f"chunk {chunk}: {len(got)} bytes read, "
                         + ("right" if right else "wrong"))


def look_around(m, data):
    for rel in ("", "vm", "vm/1", data.snap, data.other, "host/h"):
        took(AT_ONCE, os.listdir, m / rel)
        took(AT_ONCE, os.stat, m / rel)
    for n in os.listdir(m / data.snap):
        took(AT_ONCE, os.stat, m / data.snap + "/" + n)
    took(AT_ONCE, os.statvfs, m.path)
    took(AT_ONCE, subprocess.run, ["df", m.path])
    took(AT_ONCE, m.status)
    took(AT_ONCE, m.errors)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("how", OUTAGES)
def test_outage(how, data, mounts, tmp):
    m = mounts(data.store, f"cache={tmp}/c", f"state={tmp}/s",
               f"timeout={DEADLINE}", *data.options())
    image = m / data.image
    assert read_at(image, 0) == pbsgen.noise(4 << 20, 0)[8192:12288]
    os.listdir(m / data.snap)
    os.listdir(m / data.other)
    os.listdir(m / data.other + "/root")
    m.drop_caches()
    with OUTAGES[how](data.gateway):
        # Those that wait for S3 must not be in the way of those that do not.
        waiting = [threading.Thread(target=must_fail, args=(image, n))
                   for n in (2, 3, 4) for _ in range(12)]
        for t in waiting:
            t.start()
        time.sleep(0.5)
        look_around(m, data)
        assert took(AT_ONCE, read_at, image, 0) == \
            pbsgen.noise(4 << 20, 0)[8192:12288]
        look_around(m, data)
        start = time.monotonic()
        must_fail(image, 5)
        spent = time.monotonic() - start
        assert spent < DEADLINE + 2, f"failed after {spent:.1f} s"
        for t in waiting:
            t.join(DEADLINE + 4)
            assert not t.is_alive()
        look_around(m, data)
        assert m.errors() == "", "an outage is not damage"
    wait_for(lambda: reads(image, 1), 30, "reads to work again")
    for n in range(6):
        assert read_at(image, n) == pbsgen.noise(4 << 20, n)[8192:12288]
    assert m.errors() == ""


def reads(path, chunk):
    try:
        return read_at(path, chunk) == \
            pbsgen.noise(4 << 20, chunk)[8192:12288]
    except OSError:
        return False


@pytest.mark.parametrize("how", OUTAGES)
def test_mount_without_s3(how, data, mounts, tmp):
    """What was listed once can be mounted and read from the cache."""
    opts = [f"cache={tmp}/c", f"state={tmp}/s", f"timeout={DEADLINE}",
            *data.options()]
    m = mounts(data.store, *opts)
    os.listdir(m / data.snap)
    want = read_at(m / data.image, 0)
    m.stop()
    with OUTAGES[how](data.gateway):
        start = time.monotonic()
        m = mounts(data.store, *opts)
        assert time.monotonic() - start < DEADLINE + 4
        assert sorted(os.listdir(m / data.snap)) == \
            ["a.conf", "d.img", "index.json"]
        assert read_at(m / data.image, 0) == want
        must_fail(m / data.image, 5)
    wait_for(lambda: reads(m / data.image, 5), 30, "reads to work again")


def test_umount_during_outage(data, mounts, tmp):
    """Nobody has to wait for S3 to unmount."""
    m = mounts(data.store, f"cache={tmp}/c", f"state={tmp}/s",
               "timeout=60", *data.options())
    os.listdir(m / data.snap)
    with frozen(data.gateway):
        t = threading.Thread(target=reads, args=(m / data.image, 3))
        t.start()
        time.sleep(0.5)
        start = time.monotonic()
        m.stop()
        assert time.monotonic() - start < 10
        t.join(5)
        assert not t.is_alive()


def test_first_mount_without_s3(data, mounts, tmp):
    """Nothing known, nobody there: an error in time, not a hang."""
    with killed(data.gateway):
        start = time.monotonic()
        with pytest.raises(AssertionError) as e:
            mounts(data.store, f"cache={tmp}/c", f"state={tmp}/s",
                   f"timeout={DEADLINE}", *data.options())
        assert time.monotonic() - start < DEADLINE + 10
    assert "refused" in str(e.value) or "connect" in str(e.value)
