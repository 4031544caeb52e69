# SPDX-License-Identifier: GPL-3.0-or-later
"""More is written than the local disk may take."""
import errno
import json
import os
import random
import shutil
import subprocess
import threading
import time

import pytest

from conftest import need
from pbs3fs_test import bulk, script, writing
from pbs3fs_test.mount import wait_for
from pbs3fs_test.paths import SLOW

MIB = 1 << 20
GIB = 1 << 30
SLOT = 4 * MIB
LIMIT = 128 * MIB
# Beside what is staged: journals while they are written anew, the list of
# known chunks, directories.
OVERHEAD = 24 * MIB


class Place(writing.Site):
    """A datastore, and which of its chunks were put."""
    gateway = None

    def object(self, name):
        if not self.gateway:
            with open(os.path.join(self.store, name), "rb") as f:
                return f.read()
        _, _, bucket, datastore = self.store.split("/")
        return self.gateway.client().get_object(
            Bucket=bucket, Key=f"{datastore}/.cnt/{name}")["Body"].read()

    def chunks_of(self, mount, snapshot):
        """Digests that the indices of a snapshot name, by index."""
        with open(mount / snapshot + "/index.json") as f:
            names = [e["filename"] for e in json.load(f)["files"]]
        out = {}
        for name in names:
            raw = self.object(f"{snapshot}/{name}")[4096:]
            if name.endswith(".fidx"):
                out[name] = {raw[i:i + 32].hex()
                             for i in range(0, len(raw), 32)}
            elif name.endswith(".didx"):
                out[name] = {raw[i + 8:i + 40].hex()
                             for i in range(0, len(raw), 40)}
        return out

    def chunks_put(self):
        """Since the last time: digests, each as often as it was put."""
        if self.gateway:
            got = [r.key.rsplit("/", 1)[1] for r in
                   self.gateway.requests(self.since)
                   if r.verb == "PUT" and "/.chunks/" in r.key]
            self.since = self.gateway.mark()
            return got
        now = set()
        for _, _, names in os.walk(os.path.join(self.store, ".chunks")):
            now.update(n for n in names if len(n) == 64)
        got = sorted(now - self.since)
        self.since = now
        return got


@pytest.fixture(params=["dir", "s3"])
def place(request, tmp):
    if request.param == "dir":
        store = os.path.join(tmp, "store")
        os.makedirs(store + "/.chunks")
        s = Place(store, tmp)
        s.since = set()
    else:
        b = request.getfixturevalue("new_bucket")({}, "store")
        writing.run("create", "-q", b.store, "-o", ",".join(b.options()))
        s = Place(b.store, tmp, b.options())
        s.gateway = b.gateway
        s.since = b.gateway.mark()
    dog = threading.Timer(290 * SLOW, s.abort)
    dog.daemon = True
    dog.start()
    yield s
    dog.cancel()
    s.stop(check=False)


class Tree:
    """1 GiB: some large files, many middling, thousands of small ones."""
    def __init__(self, top):
        self.top = top
        self.files = {}
        tag = 1000
        for n, size, per in ((2, 200 * MIB, 2), (400, MIB, 50),
                             (11400, 20 * 1024, 300)):
            for i in range(n):
                path = f"{size}/{i // per:03}/{i % per:03}"
                self.files[path] = bulk.Content(tag, size)
                tag += 1

    def write(self):
        for path, c in self.files.items():
            os.makedirs(os.path.dirname(os.path.join(self.top, path)),
                        exist_ok=True)
            c.write(os.path.join(self.top, path))

    def rewrite(self, share, tag):
        """That share of small files whole, of the others in parts."""
        small = [p for p, c in self.files.items() if c.size < MIB]
        large = [p for p, c in self.files.items() if c.size > MIB]
        middle = [p for p, c in self.files.items() if c.size == MIB]
        r = random.Random(tag)
        for path in (r.sample(small, int(len(small) * share)) +
                     r.sample(middle, int(len(middle) * share)) + large):
            c = self.files[path]
            c.rewrite(os.path.join(self.top, path), c.some(share),
                      tag * 100_000 + c.tag)

    def check(self, top):
        for path, c in self.files.items():
            c.check(os.path.join(top, path))


def tell(put, need):
    used = set().union(*need.values())
    return (f"{len(put)} chunks put, {len(set(put) & used)} of them used; " +
            ", ".join(f"{n}: {len(v)}" for n, v in need.items()))


def enough(put, need, most):
    """No chunk twice, all that are needed, not many that are not."""
    used = set().union(*need.values())
    assert len(put) == len(set(put))
    assert used <= set(put)
    assert len(put) <= most * len(used)


@pytest.mark.timeout(300)
def test_larger_than_the_disk(place):
    t0 = time.monotonic()

    def lap(what):
        print(f"{time.monotonic() - t0:6.1f} s: {what}", flush=True)

    m = place.mount("staging-size=128M", "cache-size=128M")
    top = writing.begin(m)
    state = os.path.join(place.local, "state")
    cache = os.path.join(place.local, "cache")
    image = bulk.Content(1, GIB)
    stream = bulk.Content(2, GIB)
    tree = Tree(top + "/data")
    with bulk.Gauge(state=state, cache=cache) as gauge:
        image.write(top + "/disk.img")
        lap("image written")
        stream.write(top + "/dump")
        lap("stream written")
        tree.write()
        lap(f"tree written, {len(tree.files)} files")
        first = writing.publish(m)
        lap("published")
        put = place.chunks_put()
        need = place.chunks_of(m, first)
        lap(tell(put, need))
        image.rewrite(top + "/disk.img", image.some(0.05), 3)
        # 5 % in 13 places.
        stream.rewrite(top + "/dump", [
            k + n for k in random.Random(1).sample(range(0, 16384, 63), 13)
            for n in range(63)], 4)
        tree.rewrite(0.05, 5)
        lap("rewritten")
        second = writing.publish(m)
        lap("published")
        put2 = place.chunks_put()
        need2 = place.chunks_of(m, second)
        new = {n: v - need[n] for n, v in need2.items()}
        lap(tell(put2, new))
    print(gauge.most, gauge.samples)
    m.stop()
    place.forget_host()
    m = place.mount("cache-size=128M", mode="ro")
    image.check(m / second + "/disk.img")
    stream.check(m / second + "/dump")
    tree.check(m / second + "/data")
    lap("read")
    m.stop()
    assert gauge.samples > 20
    assert gauge.most["state"] <= LIMIT + OVERHEAD
    assert gauge.most["cache"] <= LIMIT + OVERHEAD
    enough(put, need, 1.15)
    enough(put2, new, 1.15)


@pytest.fixture
def site(tmp):
    store = os.path.join(tmp, "store")
    os.makedirs(store + "/.chunks")
    s = writing.Site(store, tmp)
    dog = threading.Timer(110 * SLOW, s.abort)
    dog.daemon = True
    dog.start()
    yield s
    dog.cancel()
    s.stop(check=False)


def scattered(top, name, n, step, seed=0):
    """n blocks of 4 KiB, far from each other: {offset: bytes}."""
    wrote = {}
    with open(f"{top}/{name}", "wb", buffering=0) as f:
        for i in range(n):
            b = bulk.block(seed, i)[:4096]
            f.seek(i * step)
            assert f.write(b) == len(b)
            wrote[i * step] = b
    return wrote


def assert_scattered(path, wrote):
    with open(path, "rb") as f:
        for off, b in wrote.items():
            f.seek(off)
            assert f.read(len(b)) == b, off


@pytest.mark.sanitize
@pytest.mark.parametrize("after", ["publish", "unlink", "truncate"])
def test_room_behind_many_small_files(site, after):
    """Files that once were staged do not stand in the way of those that
    are."""
    m = site.mount("staging-size=6M", "staging-timeout=15s")
    top = writing.begin(m)
    os.mkdir(top + "/data")
    for i in range(600):
        with open(f"{top}/data/{i}", "wb") as f:
            f.write(b"%d" % i * 700)
    if after == "publish":
        writing.publish(m)
    for i in range(600):
        if after == "unlink":
            os.unlink(f"{top}/data/{i}")
        if after == "truncate":
            os.truncate(f"{top}/data/{i}", 0)
    wrote = scattered(top, "disk.img", 4000, 64 << 10)
    assert_scattered(top + "/disk.img", wrote)
    path = writing.publish(m)
    assert_scattered(m / path + "/disk.img", wrote)
    m.stop()


class Disk:
    """A small file system where the state is kept."""
    def __init__(self, site, size):
        self.path = os.path.join(site.local, "state")
        os.makedirs(self.path)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700",
                        "none", self.path], check=True)

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.path],
                       check=True)

    def gone(self):
        subprocess.run(["umount", "-l", self.path], check=True)


@pytest.fixture
def disk(site):
    made = []

    def make(size):
        made.append(Disk(site, size))
        return made[-1]

    yield make
    site.stop(check=False)
    for d in made:
        d.gone()


def fill(top, first=0):
    """100 KiB files until one cannot be written: how many could."""
    for i in range(first, first + 10_000):
        data = bulk.block(7, i) + bulk.block(8, i)[:36 << 10]
        fd = os.open(f"{top}/{i}", os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            assert os.write(fd, data) == len(data)
        except OSError as e:
            assert e.errno == errno.ENOSPC
            with pytest.raises(OSError):
                os.fsync(fd)
            return i - first
        finally:
            try:
                os.close(fd)
            except OSError:
                pass
    raise AssertionError("it is never full")


def assert_filled(top, n):
    for i in range(n):
        with open(f"{top}/{i}", "rb") as f:
            assert f.read() == bulk.block(7, i) + bulk.block(8, i)[:36 << 10]


@pytest.mark.sanitize
def test_full_disk(site, disk):
    """ENOSPC from the disk itself: what was written before stays, also for
    another mount, and the rest goes on when there is room."""
    d = disk("24m")
    opts = ("staging-size=1G", "staging-floor=0", "staging-timeout=2s")
    m = site.mount(*opts)
    top = writing.begin(m) + "/data"
    os.mkdir(top)
    n = fill(top)
    assert 150 < n < 240
    assert_filled(top, n)
    with pytest.raises(OSError) as e:
        writing.publish(m)
    assert e.value.errno in (errno.EIO, errno.ENOSPC)
    # Nor does a full disk keep anybody from removing files.
    os.unlink(f"{top}/{n}")
    os.mkdir(f"{top}/sub")
    m.kill()
    m = site.mount(*opts)
    top = writing.begin(m) + "/data"
    assert sorted(os.listdir(top)) == sorted([str(i) for i in range(n)] +
                                             ["sub"])
    assert_filled(top, n)
    for i in range(n - 20, n):
        os.unlink(f"{top}/{i}")
    wait_for(lambda: site.mounts[-1].status()["writing"]["staged"] <
             (n - 15) * 104 * 1024, 10, "room")
    again = fill(top, n - 20)
    assert 10 < again < 30
    os.unlink(f"{top}/{n - 20 + again}")
    d.resize("100m")
    assert_filled(top, n - 20 + again)
    for i in range(n - 20 + again, 300):
        with open(f"{top}/{i}", "wb") as f:
            f.write(bulk.block(7, i) + bulk.block(8, i)[:36 << 10])
    path = writing.publish(m)
    assert_filled(m / path + "/data", 300)
    m.stop()


def test_floor(site, disk):
    """What others leave of the disk is enough; they always find some."""
    d = disk("40m")
    m = site.mount("staging-size=1G", "staging-floor=16M",
                   "staging-timeout=20s")
    top = writing.begin(m)
    least = 1 << 40
    tree = {}
    os.mkdir(top + "/data")
    for i in range(600):
        tree[i] = bulk.Content(10 + i, 200 * 1024)
        tree[i].write(f"{top}/data/{i}")
        v = os.statvfs(d.path)
        least = min(least, v.f_bavail * v.f_frsize)
    image = bulk.Content(9, 100 * MIB)
    image.write(top + "/disk.img")
    path = writing.publish(m)
    for i, c in tree.items():
        c.check(f"{m / path}/data/{i}")
    image.check(m / path + "/disk.img")
    m.stop()
    # It is looked at ever so often, and there is a journal.
    assert least > 6 * MIB


@pytest.fixture
def server(tmp):
    with script.Script() as s:
        path = os.path.join(tmp, "credentials")
        with open(path, "w") as f:
            f.write(f"access-key={script.ACCESS}\n"
                    f"secret-key={script.SECRET}\n")
        os.chmod(path, 0o600)
        s.options = [f"endpoint={s.endpoint}", "insecure-http", "path-style",
                     "region=us-east-1", f"credentials={path}",
                     "connect-timeout=1s", "retries=1"]
        s.store = f"s3://{s.bucket}/store"
        writing.run("create", "-q", s.store, "-o", ",".join(s.options))
        yield s


AWAY = {
    "refuses": {"key": "*.chunks/*", "verb": "PUT", "status": 503,
                "code": "SlowDown"},
    "hangs up": {"drop": "before"},
}


@pytest.mark.sanitize
@pytest.mark.parametrize("how", AWAY)
def test_store_away(server, tmp, how):
    """Who writes when all is full waits, then is told, again and again; what
    was written before is whole, and all goes on when the store is back."""
    site = writing.Site(server.store, tmp, server.options)
    dog = threading.Timer(110 * SLOW, site.abort)
    dog.daemon = True
    dog.start()
    m = site.mount("staging-size=8M", "staging-timeout=3s")
    top = writing.begin(m)
    before = bulk.Content(1, 5 * MIB)
    before.write(top + "/before")
    server.rules(AWAY[how])
    fd = os.open(top + "/late", os.O_CREAT | os.O_RDWR, 0o644)
    late = bulk.Content(2, 12 * MIB)
    written = 0
    began = time.monotonic()
    with pytest.raises(OSError) as e:
        for k in range(late.blocks):
            began = time.monotonic()
            assert os.write(fd, late.read(k, 1)) == bulk.BLOCK
            written += 1
    assert e.value.errno == errno.ENOSPC
    assert 2.5 < time.monotonic() - began < 3 + 5 * SLOW
    assert 16 < written < 96
    for call in os.fsync, os.close:
        with pytest.raises(OSError) as e:
            call(fd)
        assert e.value.errno in (errno.ENOSPC, errno.EIO)
    with pytest.raises(OSError) as e:
        writing.publish(m)
    # What arrived is there.
    before.check(top + "/before")
    with open(top + "/late", "rb") as f:
        assert f.read(written * bulk.BLOCK) == late.read(0, written)
    assert m.status()["writing"]["unsent"] > 0
    server.rules()
    with pytest.raises(OSError) as e:       # not as if it were whole
        writing.publish(m)
    assert e.value.errno == errno.EIO
    assert "late" in m.log()
    late.write(top + "/late")
    path = writing.publish(m)
    m.stop()
    site.forget_host()
    m = site.mount(mode="ro")
    before.check(m / path + "/before")
    late.check(m / path + "/late")
    m.stop()
    dog.cancel()


def test_a_waiting_writer_goes_on(server, tmp):
    """A store that is back in time costs nothing but time."""
    site = writing.Site(server.store, tmp, server.options)
    m = site.mount("staging-size=8M", "staging-timeout=60s")
    dog = threading.Timer(110 * SLOW, site.abort)
    dog.daemon = True
    dog.start()
    top = writing.begin(m)
    server.rules(AWAY["hangs up"])
    c = bulk.Content(1, 24 * MIB)
    failed = []

    def write():
        try:
            c.write(top + "/dump", step=1)
        except OSError as e:
            failed.append(e)

    t = threading.Thread(target=write, daemon=True)
    t.start()
    wait_for(lambda: m.status()["writing"]["waiting"] > 0, 20, "the writer")
    # Others are not held up.
    assert os.listdir(top) == ["dump"]
    server.rules()
    t.join(60 * SLOW)
    assert not t.is_alive() and not failed
    path = writing.publish(m)
    c.check(m / path + "/dump")
    m.stop()
    dog.cancel()


@pytest.mark.sanitize
def test_one_byte_a_block(site):
    """A byte takes a block of the disk, which the limit is about."""
    m = site.mount("staging-size=16M", "staging-timeout=20s")
    top = writing.begin(m)
    state = os.path.join(site.local, "state")
    fd = os.open(top + "/disk.img", os.O_CREAT | os.O_WRONLY, 0o644)
    with bulk.Gauge(state=state) as gauge:
        for i in range(16384):
            os.pwrite(fd, b"%d" % (i % 10), i * 8192 + 5)
    os.close(fd)
    path = writing.publish(m)
    with open(m / path + "/disk.img", "rb") as f:
        data = f.read()
    assert len(data) == 16383 * 8192 + 6
    assert data[5::8192] == b"".join(b"%d" % (i % 10) for i in range(16384))
    assert data.count(0) == len(data) - 16384
    m.stop()
    assert gauge.most["state"] <= 16 * MIB + OVERHEAD


def fio(path, *opts):
    p = subprocess.run(
        ["fio", "--name=x", "--filename=" + path.replace(":", "\\:"),
         "--size=512m", "--bs=4k", "--ioengine=psync", "--verify=crc32c",
         "--verify_fatal=1", *opts], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, cwd=os.path.dirname(path))
    assert p.returncode == 0, p.stdout


@pytest.mark.timeout(240)
def test_fio(site):
    """Random blocks of an image larger than the staging area."""
    need(shutil.which("fio"), "fio")
    m = site.mount("staging-size=64M")
    top = writing.begin(m, "vm/100")
    where = top + "/disk.img"
    state = os.path.join(site.local, "state")
    with bulk.Gauge(state=state) as gauge:
        # All blocks in random order, then some of them twice.
        fio(where, "--rw=randwrite", "--do_verify=1")
        first = writing.publish(m, "vm/100")
        fio(where, "--rw=randwrite", "--do_verify=0", "--io_size=64m",
            "--randseed=7")
    fio(where, "--rw=read")
    second = writing.publish(m, "vm/100")
    for path in first, second:
        fio(m / path + "/disk.img", "--rw=read", "--readonly")
    m.stop()
    assert gauge.most["state"] <= 64 * MIB + OVERHEAD
