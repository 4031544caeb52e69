# SPDX-License-Identifier: GPL-3.0-or-later
"""
Datastores that somebody made to hurt.  Whatever is in them: no crash, no hang,
no way out of the mount, no memory without bound; the rest of the store reads.
"""
import hashlib
import os
import random
import shutil
import struct
import subprocess
import zlib

import pytest
import zstandard

from pbs3fs_test import check, fixtures, pbsgen
from pbs3fs_test.mount import run
from pbs3fs_test.paths import SLOW

pytestmark = pytest.mark.sanitize
RSS = 400 << 20


@pytest.fixture
def store(tmp):
    """With one honest snapshot in it."""
    s = pbsgen.Store(os.path.join(tmp, "store"))
    snap = s.snapshot("host", "good")
    a = pbsgen.Pxar()
    a.file(b"hello", b"world\n")
    pbsgen.add_archive(snap, "root", a)
    snap.blob("a.conf.blob", b"text\n")
    snap.finish()
    s.good = snap.rel
    return s


@pytest.fixture
def visit(store, mounts, tmp):
    """Mounts, reads everything, sees that the honest part is fine."""
    def go():
        m = mounts(store.path, f"cache={tmp}/c", f"state={tmp}/s",
                   "memory=64M")
        failed, read = {}, {}
        subprocess.run(["find", m.path, "-ls"], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=60 * SLOW)
        for top in ("host", "vm", "ct"):
            if os.path.isdir(m / top):
                f, r = bounded_failures(m / top)
                failed.update({f"{top}/{k}": v for k, v in f.items()})
                read.update({f"{top}/{k}": v for k, v in r.items()})
        assert m.proc.poll() is None, m.log()
        with open(m / store.good + "/root/hello") as f:
            assert f.read() == "world\n"
        if SLOW == 1:       # sanitizers have memory of their own
            assert m.rss() < RSS
        return m, failed, read
    return go


def bounded_failures(top, limit=64 << 20):
    """As check.failures, but of large files only the ends."""
    failed, read = {}, {}
    stack = [str(top)]          # os.walk calls itself for each level
    while stack:
        try:
            entries = list(os.scandir(stack.pop()))
        except OSError:
            continue
        for e in entries:
            rel = os.path.relpath(e.path, top)
            try:
                if e.is_dir(follow_symlinks=False):
                    stack.append(e.path)
                    continue
                if e.is_symlink():
                    read[rel] = os.readlink(e.path)
                    continue
                size = e.stat(follow_symlinks=False).st_size
                with open(e.path, "rb", buffering=0) as f:
                    if size <= limit:
                        while f.read(1 << 20):
                            pass
                    else:
                        for off in (0, size // 2, size - 4096):
                            os.pread(f.fileno(), 4096, off)
                read[rel] = size
            except OSError as err:
                failed[rel] = err.errno
    return failed, read


def archive(store, a, ident, cut=pbsgen.FIXED_CHUNK):
    snap = store.snapshot("host", ident)
    pbsgen.add_archive(snap, "root", a, cut)
    snap.finish()
    return snap


def test_names(store, visit):
    """Names that would lead elsewhere are not shown."""
    a = pbsgen.Pxar()
    for name in (b"..", b".", b"", b"a/b", b"../../etc/passwd", b"/abs",
                 b"x" * 5000, b"nul\0inside"):
        a.file(name, b"evil")
    a.file(b"fine", b"ok")
    snap = archive(store, a, "names")
    m, failed, read = visit()
    names = os.listdir(m / snap.rel + "/root")
    assert "fine" in names
    assert all(n not in (".", "..", "") and "/" not in n for n in names)
    assert f"host/names/{snap.when}/root/fine" in read


def test_two_of_a_name(store, visit):
    a = pbsgen.Pxar()
    a.file(b"twice", b"1")
    a.file(b"twice", b"22")
    a.file(b"zed", b"3")
    snap = archive(store, a, "twice")
    m, _, _ = visit()
    names = os.listdir(m / snap.rel + "/root")
    assert sorted(names) == ["twice", "zed"]


def test_directory_in_itself(store, visit):
    """A goodbye table that points at its own directory, or a parent."""
    a = pbsgen.Pxar()
    a.dir(b"sub")
    a.file(b"x", b"1")

    def loop(table, start):
        h = pbsgen.siphash24(b"sub")
        return table + [(h, start, start), (h + 1, start, start + 1000)]
    a.end(loop)
    a.close(loop)
    snap = archive(store, a, "loop")
    m, _, _ = visit()
    p = subprocess.run(["find", m / snap.rel], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=20)
    assert p.stdout.count(b"\n") < 100


@pytest.mark.parametrize("offset,size", [
    (0, 0), (1, 1), (2**64 - 1, 2**64 - 1), (2**63, 16), (8, 2**64 - 8),
    (100, 2**63), (2**32, 2**32)])
def test_goodbye_numbers(offset, size, store, visit):
    a = pbsgen.Pxar()
    for i in range(5):
        a.file(b"f%d" % i, b"data")
    a.close(lambda t, s: [(t[0][0], offset, size)] + t[1:])
    snap = archive(store, a, "numbers")
    m, _, _ = visit()
    assert len(os.listdir(m / snap.rel + "/root")) <= 5


@pytest.mark.parametrize("tail", [0, 1, 2**64 - 1, 2**63, 17])
def test_goodbye_tail(tail, store, visit):
    a = pbsgen.Pxar()
    a.file(b"f", b"data")
    a.close()
    a.out[-8:] = struct.pack("<Q", tail)
    archive(store, a, "tail")
    visit()


@pytest.mark.parametrize("size", [0, 1, 15, 2**32, 2**63, 2**64 - 1])
def test_record_sizes(size, store, visit):
    """Each kind of record, with a length that is a lie."""
    for kind in (pbsgen.ENTRY, pbsgen.PAYLOAD, pbsgen.SYMLINK, pbsgen.XATTR,
                 pbsgen.HARDLINK, pbsgen.DEVICE, pbsgen.PAYLOAD_REF, 12345):
        a = pbsgen.Pxar()
        first = b"" if kind == pbsgen.ENTRY else pbsgen.entry(0o100644)
        a.raw(b"bad", first + pbsgen.record(kind, b"x" * 40, size))
        a.file(b"good", b"ok")
        archive(store, a, f"r{kind & 0xffff}")
    m, failed, read = visit()
    assert sum(k.endswith("/root/good") for k in read) == 8


def test_huge_files(store, visit):
    """Sizes that nothing could hold, in an archive that is tiny."""
    a = pbsgen.Pxar(split=True)
    for i, (off, size) in enumerate([(16, 2**63), (2**64 - 16, 32),
                                     (2**63, 2**63), (0, 2**64 - 1),
                                     (16, 2**40)]):
        a.raw(b"h%d" % i, pbsgen.entry(0o100644) + pbsgen.record(
            pbsgen.PAYLOAD_REF, struct.pack("<QQ", off, size)))
    a.file(b"ok", b"fine")
    snap = archive(store, a, "huge")
    m, failed, read = visit()
    with open(m / snap.rel + "/root/ok") as f:
        assert f.read() == "fine"
    for e in os.scandir(m / snap.rel + "/root"):
        assert e.stat(follow_symlinks=False).st_size >= 0


def test_manifest_sizes(store, visit):
    """A manifest that claims what no file can hold."""
    for i, size in enumerate([2**63 - 1, 2**63 - 512, 2**62]):
        snap = store.snapshot("vm", f"{700 + i}")
        snap.fixed("d.img.fidx", [b"x" * 4096])
        snap.files[-1]["size"] = size
        snap.finish()
    m, failed, read = visit()
    for i in range(3):
        path = m / "vm" + f"/{700 + i}/latest/d.img"
        assert os.stat(path).st_size >= 0
        with pytest.raises(OSError):
            with open(path, "rb") as f:
                f.read(1)


def test_hard_links(store, visit):
    """To nowhere, to themselves, to a directory, to a link."""
    a = pbsgen.Pxar()
    pos = a.file(b"file", b"data")
    a.hardlink(b"fine", b"file", pos)
    at = len(a.out)
    a.hardlink(b"to-itself", b"to-itself", at)
    a.hardlink(b"to-start", b"x", 0)
    a.hardlink(b"to-future", b"x", len(a.out) + 100000)
    a.hardlink(b"to-link", b"to-itself", at)
    a.hardlink(b"up", b"../../../etc/passwd", pos)
    snap = archive(store, a, "links")
    m, _, _ = visit()
    with open(m / snap.rel + "/root/fine") as f:
        assert f.read() == "data"


def test_symlinks_stay_text(store, visit):
    a = pbsgen.Pxar()
    a.symlink(b"abs", b"/etc/passwd")
    a.symlink(b"long", b"x" * 4095)
    a.symlink(b"longer", b"x" * 5000)
    snap = archive(store, a, "sym")
    m, _, _ = visit()
    assert os.readlink(m / snap.rel + "/root/abs") == "/etc/passwd"


def test_deep(store, visit):
    """Deeper than any stack, and than PATH_MAX."""
    a = pbsgen.Pxar()
    for _ in range(5000):
        a.dir(b"d")
    a.file(b"bottom", b"here")
    for _ in range(5000):
        a.end()
    snap = archive(store, a, "deep")
    m, _, _ = visit()
    here = os.open(m / snap.rel + "/root", os.O_RDONLY)
    for _ in range(5000):
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    assert os.listdir(here) == ["bottom"]
    os.close(here)


def test_bomb(store, visit):
    """A chunk of a few kilobytes that unpacks to gigabytes."""
    c = zstandard.ZstdCompressor(level=1).compressobj()
    body = b""
    block = bytes(1 << 20)
    for _ in range(2048):
        body += c.compress(block)
    body += c.flush()
    encoded = pbsgen.ZSTD + struct.pack("<I", zlib.crc32(body)) + body
    digest = hashlib.sha256(b"bomb").digest()
    store.put(b"", encoded=encoded, digest=digest)
    snap = store.snapshot("vm", "666")
    snap.fixed_digests("d.img.fidx", [digest], 4 << 20)
    snap.blob("ok.conf.blob", b"fine")
    snap._write("bomb.conf.blob", encoded)
    snap._list("bomb.conf.blob", len(encoded),
               hashlib.sha256(encoded).digest())
    snap.finish()
    m, failed, read = visit()
    assert any(k.endswith("d.img") for k in failed)
    assert digest.hex() in m.errors()


def index(store, ident, name, raw):
    snap = store.snapshot("vm", ident)
    snap._write(name, raw)
    snap._list(name, 4096, hashlib.sha256(raw).digest())
    snap.finish()


def test_index_numbers(store, visit):
    """Sizes and offsets at and beyond every edge."""
    d = hashlib.sha256(b"x").digest()
    n = 0
    for size, chunk in [(0, 4096), (2**64 - 1, 4096), (2**63, 1 << 62),
                        (1, 0), (100, 3), (2**64 - 1, 2**63), (4096, 1),
                        (2**40, 2**40)]:
        body = d
        csum = hashlib.sha256(body).digest()
        index(store, f"f{n}", "d.img.fidx",
              pbsgen.header(pbsgen.FIDX, csum,
                            tail=struct.pack("<QQ", size, chunk)) + body)
        n += 1
    for ends in [(0,), (5, 5), (10, 5), (2**64 - 1,), (2**63, 2**63 + 1),
                 (1, 2**64 - 1), (2**40,)]:
        body = b"".join(struct.pack("<Q", e) + d for e in ends)
        csum = hashlib.sha256(body).digest()
        index(store, f"d{n}", "cat.pcat1.didx",
              pbsgen.header(pbsgen.DIDX, csum) + body)
        n += 1
    m, failed, read = visit()
    assert n == 15


def test_huge_image(store, visit):
    """An index for an exabyte costs what the index costs."""
    body = hashlib.sha256(bytes(1 << 20)).digest()
    store.put(bytes(1 << 20))
    many = body * 200000
    snap = store.snapshot("vm", "big")
    snap._write("d.img.fidx", pbsgen.header(
        pbsgen.FIDX, hashlib.sha256(many).digest(),
        tail=struct.pack("<QQ", 200000 << 20, 1 << 20)) + many)
    snap._list("d.img.fidx", 200000 << 20, hashlib.sha256(many).digest())
    snap.finish()
    m, failed, read = visit()
    path = m / snap.rel + "/d.img"
    assert os.path.getsize(path) == 200000 << 20
    with open(path, "rb") as f:
        f.seek(100000 << 20)
        assert f.read(4096) == bytes(4096)


@pytest.mark.timeout(300)
def test_fuzzed(fx, mounts, tmp):
    """Random damage in every kind of file of a real datastore."""
    r = random.Random(20240101)
    top = os.path.join(fx["damaged"], "ok")
    for round_ in range(6):
        copy = os.path.join(tmp, f"fuzz{round_}")
        shutil.copytree(top, copy, symlinks=True)
        for parent, _, files in os.walk(copy):
            for n in files:
                path = os.path.join(parent, n)
                size = os.path.getsize(path)
                if size == 0 or r.random() < 0.5:
                    continue
                kind = r.randrange(3)
                with open(path, "r+b") as f:
                    if kind == 0:
                        f.truncate(r.randrange(size))
                    else:
                        for _ in range(r.randrange(1, 8)):
                            f.seek(r.randrange(size))
                            f.write(bytes([r.randrange(256)]))
        m = mounts(copy, f"cache={tmp}/c{round_}", f"state={tmp}/s{round_}")
        check.failures(m.path)
        assert m.proc.poll() is None
        m.stop()
        run("ls", "-l", copy, "host", check=False)
        run("export", copy, "host/h1/latest/root", check=False, text=False)


def fuzzed_archive(r, base):
    out = bytearray(base)
    for _ in range(r.randrange(1, 6)):
        at = r.randrange(len(out) // 8) * 8
        out[at:at + 8] = struct.pack("<Q", r.choice([
            0, 1, 16, 2**63, 2**64 - 1, len(out), r.randrange(len(out)),
            pbsgen.GOODBYE, pbsgen.FILENAME, pbsgen.TAIL]))
    return bytes(out)


@pytest.mark.timeout(300)
def test_fuzzed_archives(store, visit):
    """All checksums right, the records in the archive wrong."""
    r = random.Random(7)
    a = pbsgen.Pxar()
    for i in range(8):
        a.dir(b"d%d" % i)
        a.file(b"f", b"x" * i)
        a.symlink(b"s", b"t")
        a.end()
    base = a.close()
    for i in range(80):
        snap = store.snapshot("host", f"z{i}")
        snap.dynamic("root.pxar.didx", fuzzed_archive(r, base))
        snap.finish()
    visit()


def test_strange_keys(fx, new_bucket, mounts, tmp):
    """Keys in a bucket that are no path, or lead out of one."""
    objects = list(fixtures.store_objects(
        os.path.join(fx["damaged"], "ok"), "store"))
    for key in ("../../etc/passwd", ".cnt/host/../../x/owner", ".cnt//owner",
                ".cnt/host/h1/2024-13-01T00:00:00Z/index.json.blob",
                ".cnt/host/h1/2024-01-01T00:00:00Z/../x.blob",
                ".cnt/host/h 1/2024-01-01T00:00:00Z/index.json.blob",
                ".cnt/host/-x/2024-01-01T00:00:00Z/index.json.blob",
                ".cnt/weird/x/2024-01-01T00:00:00Z/index.json.blob",
                ".cnt/host/h1/2024-01-01T00:00:00Z/evil\nname.blob",
                ".cnt/ns/../x/host/a/owner", ".cnt/" + "ns/a/" * 60 + "x",
                ".cnt/host/h1/2024-01-01T00:00:00Z/sub/index.json.blob",
                ".cnt/host/h1/owner/owner"):
        objects.append((f"store/{key}", b"strange"))
    b = new_bucket(objects)
    m = mounts(b.store, f"cache={tmp}/c", f"state={tmp}/s", *b.options())
    failed, read = check.failures(m.path)
    assert failed == {}
    assert sorted(os.listdir(m / "host")) == ["h1"]
    assert sorted(n for n in os.listdir(m / "host/h1")
                  if n[0].isdigit()) == \
        ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]
    for parent, dirs, files in os.walk(f"{tmp}/c"):
        for n in dirs + files:
            assert "passwd" not in n


def test_manifest_paths(store, visit):
    """File names in a manifest that lead elsewhere."""
    for i, name in enumerate(["../../../etc/passwd.blob", "a/b.blob",
                              "/etc/passwd.blob", ".hidden.blob",
                              "x" * 5000 + ".blob", "..blob"]):
        snap = store.snapshot("host", f"m{i}")
        snap.blob("ok.conf.blob", b"fine")
        snap.files.append({"filename": name, "size": 10, "csum": "00" * 32,
                           "crypt-mode": "none"})
        snap.finish()
    m, _, read = visit()
    for parent, dirs, files in os.walk(m / "host"):
        assert not any("passwd" in n for n in dirs + files)
