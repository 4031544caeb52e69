# SPDX-License-Identifier: GPL-3.0-or-later
"""
What is written comes back: after publishing, unmounting and losing all local
state a fresh mount shows content and metadata equal to what a plain directory
has after the same system calls.
"""
import json
import os
import subprocess

import pytest

from pbs3fs_test import fmtcheck, listing, pbsgen, trees, writing
from pbs3fs_test.mount import run
from pbs3fs_test.paths import PBS3FS

GROUP = "host/web1"
BACKUP = 34


class Store:
    """A new, empty datastore, of either kind."""
    def __init__(self, site, bucket, archive):
        self.site = site
        self.bucket = bucket
        self.archive = archive

    def mount(self, *opts, mode="rw"):
        return self.site.mount(f"archive={self.archive}", *opts, mode=mode)

    def check(self):
        """Whether a server would take it."""
        if self.bucket:
            fmtcheck.clean(fmtcheck.Bucket.live(
                self.bucket.gateway.client(), self.bucket.name, "store"))
        else:
            fmtcheck.clean(fmtcheck.Directory(self.site.store),
                           owner=(BACKUP, BACKUP))

    def export(self, path, tmp):
        """pbs3fs export, on another host; a file."""
        out = os.path.join(tmp, "exported")
        with open(out, "wb") as f:
            p = subprocess.run(
                [PBS3FS, "export", self.site.store, path, "-o",
                 ",".join([f"cache={tmp}/xc", f"state={tmp}/xs",
                           *self.site.options])],
                stdout=f, stderr=subprocess.PIPE, text=True)
        assert p.returncode == 0, p.stderr
        return out


@pytest.fixture(params=["directory-split", "directory-pxar", "bucket-split",
                        "bucket-pxar"])
def store(request, tmp):
    kind, _, archive = request.param.partition("-")
    b, options = None, []
    if kind == "bucket":
        b = request.getfixturevalue("new_bucket")({}, "store")
        where, options = b.store, b.options()
    else:
        where = os.path.join(tmp, "store")
    run("create", "-q", where, *(["-o", ",".join(options)] if options
                                 else []))
    s = Store(writing.Site(where, tmp, options), b, archive)
    yield s
    s.site.stop(check=False)


def in_tar(records):
    """What a tar stream can hold: no sockets, and no fraction in the second
    before 1970."""
    records = listing.without_sockets(records)
    for path, r in records.items():
        if r["mtime"][0] == -1 and r["mtime"][1]:
            records[path] = {**r, "mtime": [0, 0]}
    return records


def exported(store, snap, want, tmp):
    for name, w in want.items():
        out = store.export(os.path.join(snap, name), tmp)
        if isinstance(w, dict):
            with open(out, "rb") as f:
                got = listing.from_tar(f)
            listing.assert_same(in_tar(w), got, "exported " + name)
        else:
            assert listing.sha256_file(out) == w, "exported " + name


@pytest.mark.timeout(600)
def test_everything(store, tmp):
    model = os.path.join(tmp, "model")
    os.mkdir(model)
    trees.everything(model)
    want = writing.contents(model)
    m = store.mount()
    top = writing.begin(m)
    trees.everything(top)
    writing.same(want, writing.contents(top), "current")
    first = writing.publish(m)
    writing.same(want, writing.contents(m / first), "published")
    writing.same(want, writing.contents(top), "current after publishing")
    assert m.errors() == ""
    m.stop()
    store.site.forget_host()
    store.check()
    m = store.mount(mode="ro")
    writing.same(want, writing.contents(m / first), "afresh")
    m.stop()
    exported(store, first, want, tmp)

    snaps = {first: want}
    for i, fn in enumerate((trees.change, trees.change_again)):
        fn(model)
        want = writing.contents(model)
        store.site.forget_host()
        m = store.mount()
        top = writing.begin(m)
        fn(top)
        writing.same(want, writing.contents(top), fn.__name__)
        # All of it is in the journal, after whatever end.
        if i == 0:
            m.kill()
        else:
            m.stop()
        m = store.mount()
        top = writing.begin(m)
        writing.same(want, writing.contents(top), fn.__name__ + ": resumed")
        snap = writing.publish(m)
        snaps[snap] = want
        for path, w in snaps.items():
            writing.same(w, writing.contents(m / path),
                         f"{fn.__name__}: {path}")
        writing.same(want, writing.contents(top), fn.__name__ + ": after")
        assert m.errors() == ""
        m.stop()
        store.check()
    store.site.forget_host()
    m = store.mount(mode="ro")
    for path, w in snaps.items():
        writing.same(w, writing.contents(m / path), f"at last: {path}")
    assert m.errors() == ""
    m.stop()
    exported(store, snap, want, tmp)


def test_delete_all(store):
    """Nothing cannot be published; one file after that can."""
    m = store.mount()
    top = writing.begin(m)
    trees.tops(top)
    os.mkdir(top + "/root")
    trees.write(top + "/root/f", b"x")
    want = writing.contents(top)
    first = writing.publish(m)
    trees.remove_all(top)
    assert os.listdir(top) == []
    with pytest.raises(OSError):
        writing.publish(m)
    m.stop()
    m = store.mount()
    top = writing.begin(m)
    assert os.listdir(top) == []
    trees.write(top + "/root", b"a stream now")
    left = writing.contents(top)
    second = writing.publish(m)
    m.stop()
    store.site.forget_host()
    store.check()
    m = store.mount(mode="ro")
    writing.same(want, writing.contents(m / first))
    writing.same(left, writing.contents(m / second))
    m.stop()


def test_unchanged(store):
    """A second snapshot without a change has the same indices and chunks."""
    m = store.mount()
    top = writing.begin(m)
    trees.everything(top)
    first = writing.publish(m)
    m.stop()
    m = store.mount()
    top = writing.begin(m)
    writing.contents(top)
    trees.write(top + "/new.conf", b"x")
    second = writing.publish(m)
    with open(m / first + "/index.json") as f:
        one = manifest_files(f.read())
    with open(m / second + "/index.json") as f:
        two = manifest_files(f.read())
    del two["new.conf.blob"]
    assert one == two
    m.stop()
    store.check()


def manifest_files(text):
    return {f["filename"]: (f["size"], f["csum"])
            for f in json.loads(text)["files"]}


def exchange_kinds(top):
    """What is in one kind of archive comes into another."""
    for old, new in (("first.img", "first"), ("dump.sql", "dump.img"),
                     ("job.conf", "job"), ("one", "one.json"),
                     ("tiny.img", "tiny.conf"), ("noise.log", "log.img"),
                     ("zero.img", "root/zero.img"),
                     ("zeros", "root/zeros"), ("x.json", "root/x.json"),
                     ("root/big", "big.img"), ("root/text", "text"),
                     ("root/small", "small.conf"),
                     ("root/dir", "dir.img"), ("etc", "root/etc")):
        os.rename(f"{top}/{old}", f"{top}/{new}")
    trees.renameat2(top + "/root", top + "/other", trees.EXCHANGE)
    trees.renameat2(top + "/holes.img", top + "/root", trees.EXCHANGE)


@pytest.mark.parametrize("base", [False, True], ids=["new", "base"])
def test_other_kinds(base, store, tmp):
    def fill(top):
        trees.tops(top)
        for d in ("root", "root/dir", "other", "etc"):
            os.mkdir(f"{top}/{d}")
        trees.write(top + "/root/big", pbsgen.noise(9 << 20, 41))
        trees.write(top + "/root/text", b"some text\n" * 1000)
        trees.write(top + "/root/small", b"x")
        trees.write(top + "/root/dir/f", b"f")
        trees.write(top + "/other/f", b"g")
        trees.write(top + "/etc/f", b"h")
        for d in ("root", "other", "etc"):
            os.utime(f"{top}/{d}", ns=(0, 5))

    model = os.path.join(tmp, "model")
    os.mkdir(model)
    m = store.mount()
    top = writing.begin(m)
    fill(top)
    if base:
        writing.publish(m)
        m.stop()
        store.site.forget_host()
        m = store.mount()
        top = writing.begin(m)
    exchange_kinds(top)
    fill(model)
    exchange_kinds(model)
    want = {n: digests(v) for n, v in writing.contents(model).items()}
    snap = writing.publish(m)
    for where in (top, m / snap):
        got = writing.contents(where)
        for name in writing.MADE:
            got.pop(name, None)
        assert {n: digests(v) for n, v in got.items()} == want
    m.stop()
    store.site.forget_host()
    store.check()
    m = store.mount(mode="ro")
    got = writing.contents(m / snap)
    for name in writing.MADE:
        got.pop(name, None)
    assert {n: digests(v) for n, v in got.items()} == want
    m.stop()


def digests(v):
    """Of an archive only names and contents: attributes of what was at the
    top are nowhere."""
    return {p: (r["type"], r.get("sha256")) for p, r in v.items()} \
        if isinstance(v, dict) else v


def test_namespaces(store):
    """Groups in namespaces do not mix."""
    m = store.mount()
    os.mkdir(m / "ns/a")
    os.mkdir(m / "ns/a/ns/b")
    want = {}
    for i, group in enumerate(("vm/100", "ns/a/vm/100", "ns/a/ns/b/vm/100",
                               "ns/a/host/100", "ct/100")):
        top = writing.begin(m, group)
        trees.write(top + "/disk.img", pbsgen.noise(100_000, i))
        os.mkdir(top + "/root")
        trees.write(top + "/root/f", group.encode())
        want[group] = writing.contents(top)
        writing.publish(m, group)
    m.stop()
    store.site.forget_host()
    store.check()
    m = store.mount(mode="ro")
    for group, w in want.items():
        writing.same(w, writing.contents(m / group + "/latest/"), group)
    m.stop()
