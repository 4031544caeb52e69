# SPDX-License-Identifier: GPL-3.0-or-later
"""More is written than the local disk may take."""
import json
import os
import random
import threading
import time

import pytest

from pbs3fs_test import bulk, writing
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
