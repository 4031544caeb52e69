# SPDX-License-Identifier: GPL-3.0-or-later
"""Large directories, many files, long paths."""
import os
import subprocess
import time

import pytest

from pbs3fs_test import fixtures, pbsgen
from pbs3fs_test.paths import SLOW


@pytest.mark.timeout(300)
@pytest.mark.parametrize("split", [False, True], ids=["v1", "v2"])
def test_wide(split, mounts, tmp):
    """100,000 entries in a directory: complete, no name twice, quick to
    look one up in."""
    n = 100000
    s = pbsgen.Store(os.path.join(tmp, "store"))
    snap = s.snapshot("host", "wide")
    a = pbsgen.Pxar(split)
    a.dir(b"other")
    a.file(b"x", b"y")
    a.end()
    a.dir(b"wide")
    for i in range(n):
        a.file(b"file-%06d" % i, b"%d" % i)
    a.end()
    pbsgen.add_archive(snap, "root", a, 1 << 20)
    snap.finish()
    m = mounts(s.path, f"cache={tmp}/c", f"state={tmp}/s")
    wide = m / snap.rel + "/root/wide"
    start = time.monotonic()
    names = os.listdir(wide)
    assert len(names) == n and len(set(names)) == n
    assert time.monotonic() - start < 20 * SLOW
    start = time.monotonic()
    total = sum(e.stat().st_size for e in os.scandir(wide))
    assert total == sum(len(str(i)) for i in range(n))
    assert time.monotonic() - start < 60 * SLOW
    m.drop_caches()
    start = time.monotonic()
    for i in (0, 1, 77777, n - 1):
        with open(f"{wide}/file-{i:06}") as f:
            assert f.read() == str(i)
    with pytest.raises(FileNotFoundError):
        os.stat(wide + "/file-100000")
    assert time.monotonic() - start < 5 * SLOW


def test_entering_reads_that_directory(new_bucket, mounts, tmp):
    """Listing one directory fetches its table, and a chunk for each of its
    entries at most, as a name stands where the entry is; however large the
    archive is.  Looking up goes by the table alone."""
    s = pbsgen.Store(os.path.join(tmp, "store"))
    snap = s.snapshot("host", "lazy")
    a = pbsgen.Pxar()
    for d in range(10):
        a.dir(b"dir%d" % d)
        for i in range(20):
            a.file(b"f%02d" % i, pbsgen.noise(100000, d * 100 + i))
        a.end()
    pbsgen.add_archive(snap, "root", a, 256 << 10)
    snap.finish()
    b = new_bucket(fixtures.store_objects(s.path, "store"))
    chunks = len(s.chunks)
    assert chunks > 70
    m = mounts(b.store, f"cache={tmp}/c", f"state={tmp}/s", *b.options())
    os.listdir(m / snap.rel)
    mark = b.gateway.mark()
    assert len(os.listdir(m / snap.rel + "/root")) == 10
    assert b.gateway.counts(mark)["GET"] <= 3 + 10
    mark = b.gateway.mark()
    assert os.stat(m / snap.rel + "/root/dir4/f10").st_size == 100000
    assert b.gateway.counts(mark)["GET"] <= 3


@pytest.fixture(scope="module")
def many(scratch):
    """20,000 files in 200 directories."""
    s = pbsgen.Store(os.path.join(scratch, "many"))
    snap = s.snapshot("host", "many")
    a = pbsgen.Pxar(split=True)
    for d in range(200):
        a.dir(b"d%03d" % d)
        for i in range(100):
            a.file(b"f%02d" % i, b"%d" % (d * i), uid=1000 + d, gid=i)
        a.end()
    pbsgen.add_archive(snap, "root", a)
    snap.finish()
    s.snap = snap
    return s


@pytest.mark.sanitize
@pytest.mark.timeout(300)
def test_find(many, mounts, tmp):
    m = mounts(many.path, f"cache={tmp}/c", f"state={tmp}/s")
    start = time.monotonic()
    p = subprocess.run(["find", m / many.snap.rel + "/root", "-type", "f",
                        "-printf", "%P %s %U %G\n"],
                       stdout=subprocess.PIPE, check=True, text=True)
    assert time.monotonic() - start < 30 * SLOW
    got = sorted(p.stdout.splitlines())
    want = sorted(f"d{d:03}/f{i:02} {len(str(d * i))} {1000 + d} {i}"
                  for d in range(200) for i in range(100))
    assert got == want


@pytest.mark.thread
@pytest.mark.timeout(300)
def test_parallel_find(many, mounts, tmp):
    m = mounts(many.path, f"cache={tmp}/c", f"state={tmp}/s")
    top = m / many.snap.rel + "/root"
    procs = [subprocess.Popen(f"find {top} -type f | xargs cat | sha256sum",
                              shell=True, stdout=subprocess.PIPE)
             for _ in range(6)]
    sums = {p.communicate()[0] for p in procs}
    assert len(sums) == 1


def test_long_names(mounts, tmp):
    """255 bytes, of any kind but NUL and slash."""
    s = pbsgen.Store(os.path.join(tmp, "store"))
    snap = s.snapshot("host", "names")
    names = [bytes([c]) * 255 for c in (0x61, 0xff, 0xc3)]
    names += [bytes(c for c in range(1, 256) if c != 0x2f), b" ", b"\n",
              b"-rf", b"\\", "größe".encode(), b"\xe2\x82"]
    a = pbsgen.Pxar()
    for n in sorted(names):
        a.file(n, n[:10])
    pbsgen.add_archive(snap, "root", a)
    snap.finish()
    m = mounts(s.path, f"cache={tmp}/c", f"state={tmp}/s")
    root = (m / snap.rel + "/root/").encode()
    assert sorted(os.listdir(root)) == sorted(names)
    for n in names:
        with open(root + n, "rb") as f:
            assert f.read() == n[:10]
