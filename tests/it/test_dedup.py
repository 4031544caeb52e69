# SPDX-License-Identifier: GPL-3.0-or-later
"""What a second snapshot costs, against the least it could: PUTs and bytes,
as the gateway counted them."""
import os
import random

import pytest

from pbs3fs_test import pbsgen, writing

MIB = 1 << 20
SLOT = 4 * MIB


@pytest.fixture
def site(new_bucket, tmp):
    b = new_bucket({}, "store")
    writing.run("create", "-q", b.store, "-o", ",".join(b.options()))
    s = writing.Site(b.store, tmp, b.options())
    s.gateway = b.gateway
    yield s
    s.stop(check=False)


class Cost:
    """What is sent while it lasts."""
    def __init__(self, mount, gateway):
        self.mount = mount
        self.gateway = gateway

    def __enter__(self):
        self.since = self.gateway.mark()
        self.before = self.mount.status()
        return self

    def __exit__(self, *_):
        after = self.mount.status()
        self.bytes = after["bytes_written"] - self.before["bytes_written"]
        requests = [r for r in self.gateway.requests(self.since)]
        self.chunks = [r.key for r in requests if r.verb == "PUT"
                       and "/.chunks/" in "/" + r.key]
        self.objects = [r.key for r in requests if r.verb == "PUT"
                        and "/.cnt/" in "/" + r.key]
        self.others = [r for r in requests if r.verb != "PUT"]


@pytest.mark.timeout(400)
def test_image(site):
    """1 GiB, of which 5 % of the 4 MiB slots change."""
    m = site.mount("staging-size=1G")
    top = writing.begin(m, "vm/100")
    slots = 256
    with Cost(m, site.gateway) as first:
        with open(top + "/disk.img", "wb") as f:
            for i in range(slots):
                f.write(pbsgen.noise(SLOT, i))
        writing.publish(m, "vm/100")
    assert len(first.chunks) == len(set(first.chunks)) == slots
    changed = random.Random(1).sample(range(slots), slots * 5 // 100)
    with Cost(m, site.gateway) as second:
        with open(top + "/disk.img", "r+b") as f:
            for i in changed:
                f.seek(i * SLOT + 12345)
                f.write(b"changed" * 10)
        writing.publish(m, "vm/100")
    print(f"image: {len(second.chunks)} chunks put, {len(changed)} changed; "
          f"{second.bytes} bytes, {len(changed) * SLOT} at least")
    assert len(second.chunks) == len(changed)
    assert len(second.objects) == 2
    assert second.bytes < len(changed) * (SLOT + 4096) + 100_000
    # Only what was partly overwritten had to come back, and the marker.
    gets = [r for r in second.others if r.verb == "GET" and r.key]
    assert len(gets) <= len(changed) + 1
    with Cost(m, site.gateway) as third:
        writing.publish(m, "vm/100")
    assert third.chunks == [] and len(third.objects) == 2
    # Nothing but a look at who owns the bucket.
    gets = [r for r in third.others if r.verb == "GET"]
    assert [r.key for r in gets] == ["store/.in-use"]


def build(top, dirs, per_dir, size):
    for d in range(dirs):
        os.mkdir(f"{top}/d{d:03}")
        for i in range(per_dir):
            with open(f"{top}/d{d:03}/f{i:03}", "wb") as f:
                f.write(pbsgen.noise(size, d * 1000 + i))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("spread", ["directories", "scattered"])
def test_tree(site, spread):
    """20,000 files of 12 KiB, of which 5 % change: whole directories, or one
    here and one there."""
    m = site.mount()
    top = writing.begin(m)
    tree = top + "/data"
    os.mkdir(tree)
    dirs, per_dir, size = 200, 100, 12 * 1024
    build(tree, dirs, per_dir, size)
    with Cost(m, site.gateway) as first:
        writing.publish(m)
    r = random.Random(2)
    if spread == "directories":
        which = [(d, i) for d in r.sample(range(dirs), dirs * 5 // 100)
                 for i in range(per_dir)]
    else:
        which = [divmod(x, per_dir) for x in
                 r.sample(range(dirs * per_dir), dirs * per_dir * 5 // 100)]
    for d, i in which:
        with open(f"{tree}/d{d:03}/f{i:03}", "r+b") as f:
            f.write(pbsgen.noise(size, 10**6 + d * 1000 + i))
    with Cost(m, site.gateway) as second:
        path = writing.publish(m)
    least = len(which) * size
    print(f"tree, {spread}: first {len(first.chunks)} chunks, "
          f"{first.bytes} bytes; second {len(second.chunks)} chunks, "
          f"{second.bytes} bytes, {least} at least")
    assert len(second.objects) == 3
    if spread == "directories":
        assert second.bytes < 2.0 * least
        assert len(second.chunks) <= 40
    else:
        # No cut of 4 MiB on average can do better than all of it.
        assert second.bytes < 1.1 * first.bytes
    writing.same(writing.contents(top), writing.contents(m / path))


@pytest.mark.timeout(400)
def test_one_percent(site):
    """After touching 1 % of a tree about 1 % is read, hashed and sent."""
    m = site.mount()
    top = writing.begin(m)
    tree = top + "/data"
    os.mkdir(tree)
    build(tree, 100, 20, 200 * 1024)
    writing.publish(m)
    m.stop()
    m = site.mount("cache-size=0")
    tree = writing.begin(m) + "/data"
    for i in range(20):
        with open(f"{tree}/d050/f{i:03}", "r+b") as f:
            f.seek(1000)
            f.write(b"touched")
    with Cost(m, site.gateway) as second:
        writing.publish(m)
    total = 100 * 20 * 200 * 1024
    touched = 20 * 200 * 1024
    print(f"1 %: {second.bytes} bytes sent, {touched} touched of {total}")
    assert second.bytes < 2 * touched + 2 * MIB
    gets = [r for r in second.others if r.verb == "GET" and
            "/.chunks/" in "/" + r.key]
    assert len(gets) <= 8


def test_other_groups(site):
    """A host that has never written here knows what other groups have."""
    m = site.mount()
    for group in ("vm/1", "host/a"):
        top = writing.begin(m, group)
        with open(top + "/disk.img", "wb") as f:
            f.write(pbsgen.noise(32 * MIB, 1 if group == "vm/1" else 2))
        writing.publish(m, group)
    m.stop()
    site.forget_host()
    m = site.mount()
    with Cost(m, site.gateway) as base:
        top = writing.begin(m, "vm/1")
        # All of it again, as a tool does that knows nothing of blocks.
        with open(top + "/disk.img", "wb") as f:
            f.write(pbsgen.noise(32 * MIB, 1))
        writing.publish(m, "vm/1")
    assert base.chunks == []
    with Cost(m, site.gateway) as other:
        top = writing.begin(m, "vm/2")
        with open(top + "/disk.img", "wb") as f:
            f.write(pbsgen.noise(32 * MIB, 2))
        writing.publish(m, "vm/2")
    assert other.chunks == [] and len(other.objects) == 3
