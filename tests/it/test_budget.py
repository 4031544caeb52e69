# SPDX-License-Identifier: GPL-3.0-or-later
"""
What work costs in requests, as the gateway's own log has it.  Exact numbers:
a request too many is a failure, like a wrong byte.
"""
import hashlib
import os
import re
import subprocess

import pytest

from pbs3fs_test import check, fixtures, pbsgen
from pbs3fs_test.mount import run
from pbs3fs_test.rgw import count_verbs

VM = "vm/100/2024-01-03T00:00:00Z"


@pytest.fixture
def plain(bucket, mounts, tmp):
    """mount(): the plain fixture; the same cache every time."""
    b = bucket("plain")

    def mount(*opts):
        return mounts(b.store, f"cache={tmp}/cache", f"state={tmp}/state",
                      *b.options(), *opts)
    mount.gateway = b.gateway
    return mount


def spent(gateway, mark):
    return gateway.counts(mark)


def expected_snapshot(path):
    for g in fixtures.expected("plain")["groups"]:
        for when, s in check.snapshots(g).items():
            if os.path.join(check.group_path(g), when) == path:
                return s
    raise KeyError(path)


def test_mount(plain, bucket):
    g = plain.gateway
    objects = [k for k, _ in _objects(bucket)]
    lists = -(-len([k for k in objects if "/.cnt/" in k]) // 1000)
    mark = g.mark()
    plain()
    c = spent(g, mark)
    assert c.pop("LIST") == lists
    assert sum(c.values()) <= 2


def _objects(bucket):
    b = bucket("plain")
    pager = b.gateway.client().get_paginator("list_objects_v2")
    for page in pager.paginate(Bucket=b.name):
        for o in page.get("Contents", ()):
            yield o["Key"], o["Size"]


@pytest.mark.timeout(300)
def test_mount_pages(new_bucket, mounts, tmp):
    """2,345 metadata objects are three pages."""
    objects = [("store/.cnt/host/h/owner", b"root@pam\n")]
    objects += [(f"store/.cnt/host/h{i}/owner", b"root@pam\n")
                for i in range(2344)]
    b = new_bucket(objects)
    mark = b.gateway.mark()
    m = mounts(b.store, f"cache={tmp}/c", f"state={tmp}/s", *b.options())
    assert len(os.listdir(m / "host")) == 2345
    c = spent(b.gateway, mark)
    assert c.pop("LIST") == 3
    assert sum(c.values()) <= 2


def test_listing_is_free(plain):
    m = plain()
    mark = plain.gateway.mark()
    for rel in ("", "ns", "ns/a", "ns/a/ns/b", "host", "vm", "vm/100",
                "host/myhost", "ns/a/host/h-a"):
        subprocess.run(["ls", "-l", m / rel], check=True,
                       stdout=subprocess.PIPE)
    os.statvfs(m.path)
    subprocess.run(["df", m.path], check=True, stdout=subprocess.PIPE)
    assert spent(plain.gateway, mark) == {}


def test_snapshot_listing(plain):
    """One GET for the manifest and one for each blob; then none, and none
    after a remount."""
    s = expected_snapshot(VM)
    blobs = [f for f in s["files"] if f.endswith(".blob")
             and f != "index.json.blob"]
    assert blobs
    m = plain()
    mark = plain.gateway.mark()
    subprocess.run(["ls", "-l", m / VM], check=True, stdout=subprocess.PIPE)
    requests = plain.gateway.requests(mark)
    assert count_verbs(requests) == {"GET": 1 + len(blobs)}
    assert sorted(os.path.basename(r.key) for r in requests) == \
        sorted(["index.json.blob", *blobs])
    mark = plain.gateway.mark()
    subprocess.run(["ls", "-l", m / VM], check=True, stdout=subprocess.PIPE)
    assert spent(plain.gateway, mark) == {}
    m.stop()
    m = plain()
    mark = plain.gateway.mark()
    subprocess.run(["ls", "-l", m / VM], check=True, stdout=subprocess.PIPE)
    assert spent(plain.gateway, mark) == {}


ZERO_4M = "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"


def test_image(plain):
    """A GET for the index and one for each chunk that is not the chunk of
    zeros; a second read costs nothing, with or without the page cache."""
    s = expected_snapshot(VM)
    a, = [a for a in s["archives"] if a["filename"] == "drive-scsi0.img.fidx"]
    chunks = {c[1] for c in a["chunks"]} - {ZERO_4M}
    m = plain()
    path = m / VM + "/drive-scsi0.img"
    os.stat(path)
    mark = plain.gateway.mark()
    check.archive(path, "image", a)
    requests = plain.gateway.requests(mark)
    assert count_verbs(requests) == {"GET": 1 + len(chunks)}
    assert {r.key.rpartition("/")[2] for r in requests} == \
        chunks | {"drive-scsi0.img.fidx"}
    mark = plain.gateway.mark()
    check.archive(path, "image", a)
    m.drop_caches()
    check.archive(path, "image", a)
    assert spent(plain.gateway, mark) == {}
    m.stop()
    m = plain()
    mark = plain.gateway.mark()
    check.archive(m / VM + "/drive-scsi0.img", "image", a)
    assert spent(plain.gateway, mark) == {}


def test_part_of_an_image(plain):
    """A byte costs its chunk, and the index."""
    m = plain()
    path = m / VM + "/drive-scsi0.img"
    os.stat(path)
    mark = plain.gateway.mark()
    with open(path, "rb", buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        f.seek(100)
        assert len(f.read(1)) == 1
    assert spent(plain.gateway, mark) == {"GET": 2}


def test_tree(plain):
    """Reading a whole tree fetches each of its chunks once, and the catalog,
    which tells whether link counts have to be searched for."""
    path = "host/myhost/2024-01-01T00:00:07Z"
    s = expected_snapshot(path)
    a, = [a for a in s["archives"] if a["filename"] == "root.pxar.didx"]
    c, = [a for a in s["archives"] if a["filename"] == "catalog.pcat1.didx"]
    m = plain()
    os.listdir(m / path)
    mark = plain.gateway.mark()
    check.archive(m / path + "/root", "tree", a)
    requests = plain.gateway.requests(mark)
    keys = [r.key.rpartition("/")[2] for r in requests]
    assert sorted(keys) == sorted(
        {x[1] for x in a["chunks"] + c["chunks"]}
        | {"root.pxar.didx", "catalog.pcat1.didx"})
    assert count_verbs(requests) == {"GET": len(keys)}


def test_parallel_readers_share(new_bucket, mounts, tmp):
    """However many read a chunk at once, it is fetched once."""
    top = os.path.join(tmp, "store")
    s = pbsgen.Store(top)
    snap = s.snapshot("vm", "1")
    data = pbsgen.noise(4 << 20)
    snap.fixed("d.img.fidx", [data])
    snap.finish()
    b = new_bucket(fixtures.store_objects(top, "store"))
    m = mounts(b.store, f"cache={tmp}/c", f"state={tmp}/s", *b.options())
    path = m / snap.rel + "/d.img"
    os.stat(path)
    mark = b.gateway.mark()
    procs = [subprocess.Popen(["sha256sum", path], stdout=subprocess.PIPE)
             for _ in range(20)]
    sums = {p.communicate()[0].split()[0] for p in procs}
    assert sums == {hashlib.sha256(data).hexdigest().encode()}
    assert spent(b.gateway, mark) == {"GET": 2}


def test_own_counts(plain):
    """The daemon counts what the gateway counts."""
    mark = plain.gateway.mark()
    m = plain()
    s = expected_snapshot(VM)
    check.snapshot(m / VM, s)
    seen = spent(plain.gateway, mark)
    own = {k.upper(): v for k, v in m.requests().items() if v}
    assert own == seen


def test_cost_line(bucket, tmp):
    """Every command says what it cost; the gateway agrees."""
    b = bucket("plain")
    opts = ",".join([f"cache={tmp}/c", f"state={tmp}/s", *b.options()])
    mark = b.gateway.mark()
    p = run("ls", b.store, "vm/100", "-o", opts)
    n = sum(spent(b.gateway, mark).values())
    line = [x for x in p.stderr.splitlines() if x.startswith("cost:")]
    assert len(line) == 1, p.stderr
    numbers = re.findall(r"(\d+) (?:GET|HEAD|STAT|LIST)", line[0])
    assert sum(map(int, numbers)) == n, line
