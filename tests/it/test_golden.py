# SPDX-License-Identifier: GPL-3.0-or-later
"""
The same input gives what Proxmox Backup made of it: indices, chunk names and
archives of the real datastores, where the format leaves no choice.
"""
import json
import os
import shutil
import stat
import struct

import pytest

from pbs3fs_test import (check, fixtures, fmtcheck, listing, pbsgen, trees,
                         writing)

GROUP = "host/web1"
HEADER = 4096
PRELUDE = 0xe309d79d9f7b771b


@pytest.fixture
def site(tmp):
    store = os.path.join(tmp, "store")
    os.makedirs(store + "/.chunks")
    s = writing.Site(store, tmp)
    yield s
    s.stop(check=False)


def archives(*kinds):
    """(directory of the snapshot, name in it, archive, kind) of the store."""
    e = fixtures.expected("plain")
    for g in e["groups"]:
        for when, s in check.snapshots(g).items():
            for a in s["archives"]:
                kind = check.shown_name(a["filename"])[1]
                if kind in kinds:
                    yield (os.path.join(check.group_path(g), when),
                           a["filename"], a, kind)


def index(path):
    """(size and chunk size of a fixed one, the table)."""
    with open(path, "rb") as f:
        raw = f.read()
    return raw[64:80] if path.endswith(".fidx") else b"", raw[HEADER:]


def content(store, table):
    """Of a dynamic index' table, decoded; and its chunks."""
    pieces, names = [], []
    for i in range(0, len(table), 40):
        digest = table[i + 8:i + 40].hex()
        with open(f"{store}/.chunks/{digest[:4]}/{digest}", "rb") as f:
            pieces.append(pbsgen.decode(f.read()))
        names.append(digest)
    return b"".join(pieces), names


def manifest(path):
    with open(path + "/index.json.blob", "rb") as f:
        return {f["filename"]: f
                for f in json.loads(pbsgen.decode(f.read()))["files"]}


def test_images(fx, mounts, site):
    """Whole, and made in pieces in any order."""
    there = mounts(fx["plain"], name="there")
    m = site.mount()
    want = {}
    top = writing.begin(m)
    for n, (snap, name, _, _) in enumerate(archives("image")):
        shown = f"{n:02}-{name[:-5]}"
        want[shown] = os.path.join(fx["plain"], snap, name)
        with open(there / snap + "/" + name[:-5], "rb") as f:
            data = f.read()
        if n % 3 == 0:
            trees.write(f"{top}/{shown}", data)
        elif n % 3 == 1:        # backwards
            with open(f"{top}/{shown}", "wb") as f:
                for at in reversed(range(0, len(data), 1_000_000)):
                    f.seek(at)
                    f.write(data[at:at + 1_000_000])
        else:                   # holes where zeros are
            with open(f"{top}/{shown}", "wb") as f:
                f.truncate(len(data))
                for at in range(0, len(data), 65536):
                    piece = data[at:at + 65536]
                    if piece.strip(b"\0"):
                        f.seek(at)
                        f.write(piece)
    assert want
    path = f"{site.store}/{writing.publish(m)}"
    files = manifest(path)
    for shown, theirs in want.items():
        ours = f"{path}/{shown}.fidx"
        assert index(ours) == index(theirs), theirs
        entry = manifest(os.path.dirname(theirs))[os.path.basename(theirs)]
        assert {**entry, "filename": shown + ".fidx"} == \
            files[shown + ".fidx"]
        table = index(ours)[1]
        for i in range(0, len(table), 32):
            digest = table[i:i + 32].hex()
            rel = f".chunks/{digest[:4]}/{digest}"
            with open(f"{site.store}/{rel}", "rb") as f, \
                    open(f"{fx['plain']}/{rel}", "rb") as g:
                assert pbsgen.decode(f.read()) == pbsgen.decode(g.read())
    m.stop()


def test_streams(fx, site):
    """Any stream is cut as the server's client cuts an archive: that of 64
    and 256 KiB chunks was told to cut finer."""
    m = site.mount()
    top = writing.begin(m)
    want = {}
    for snap, name, a, _ in archives("tree"):
        if "smallchunks" in snap or name.endswith(".ppxar.didx"):
            continue
        table = index(os.path.join(fx["plain"], snap, name))[1]
        if table in want.values():
            continue
        shown = f"stream-{len(want)}"
        want[shown] = table
        data = content(fx["plain"], table)[0]
        with open(f"{top}/{shown}", "wb") as f:
            at = 0
            for n in range(1, 10**9):
                step = n * 7919 % 1_500_000 + 1
                f.write(data[at:at + step])
                at += step
                if at >= len(data):
                    break
    assert any(len(t) > 8 * 40 for t in want.values()) or len(want) > 4
    path = writing.publish(m)
    for shown, table in want.items():
        assert index(f"{site.store}/{path}/{shown}.didx")[1] == table, shown
    m.stop()


def test_blobs(fx, mounts, site):
    """To the byte: what is kept smaller is compressed, at level 1."""
    there = mounts(fx["plain"], name="there")
    m = site.mount()
    top = writing.begin(m)
    want = {}
    for n, (snap, name, _, _) in enumerate(archives("blob")):
        shown = f"{n:02}-{name[:-5]}"
        want[shown] = os.path.join(fx["plain"], snap, name)
        shutil.copy(there / snap + "/" + name[:-5], f"{top}/{shown}")
    assert want
    path = f"{site.store}/{writing.publish(m)}"
    for shown, theirs in want.items():
        with open(theirs, "rb") as f, open(f"{path}/{shown}.blob", "rb") as g:
            assert f.read() == g.read(), theirs
    m.stop()


# Trees.

def copy_tree(source, to):
    """With all that system calls tell of it, hard links included."""
    source, to = os.fsencode(source), os.fsencode(to)
    seen, stack, times = {}, [b""], []
    while stack:
        rel = stack.pop()
        path, new = source + rel, to + rel
        st = os.lstat(path)
        kind = stat.S_IFMT(st.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(new)
            stack += [rel + b"/" + n for n in os.listdir(path)]
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(path), new)
        elif kind != stat.S_IFREG:
            os.mknod(new, st.st_mode, st.st_rdev)
        elif st.st_ino in seen:
            os.link(seen[st.st_ino], new)
            continue
        else:
            if st.st_nlink > 1:
                seen[st.st_ino] = new
            with open(path, "rb") as f:
                trees.write(new, f.read())
        os.chown(new, st.st_uid, st.st_gid, follow_symlinks=False)
        if kind != stat.S_IFLNK:
            os.chmod(new, stat.S_IMODE(st.st_mode))
            for name in os.listxattr(path):
                if not name.startswith(listing.OWN):
                    os.setxattr(new, name, os.getxattr(path, name))
        times.append((new, st.st_mtime_ns))
    for path, when in reversed(times):
        os.utime(path, ns=(0, when), follow_symlinks=False)


def records(raw, at, end):
    """(start, end, kind) of those in a piece of an archive."""
    while at < end:
        kind, size = struct.unpack_from("<QQ", raw, at)
        yield at, at + size, kind
        at += size


def ours_of(stream, a):
    """
    Their archive as we write it: without the attributes of chattr(1), which
    no system call of a mount sets; with xattrs in the order of their names,
    where the client has that of a file system; and without the prelude, which
    has the client's own options.  Also: how many entries that changed.
    """
    out = bytearray(stream)
    marks = 0
    for e in a["pxar"]["list"]:
        if not e.get("flags") and len(e.get("xattrs", ())) < 2:
            continue
        at = out.find(pbsgen.ENTRY.to_bytes(8, "little"), e["range"][0])
        if e.get("flags"):
            assert out[at + 24:at + 32] != bytes(8), e
            out[at + 24:at + 32] = bytes(8)
            marks += 1
        if len(e.get("xattrs", ())) > 1:
            found = []
            for start, end, kind in records(out, at + 56, len(out)):
                if kind != pbsgen.XATTR:
                    break
                found.append(bytes(out[start:end]))
            assert len(found) == len(e["xattrs"])
            one = b"".join(sorted(found, key=lambda x: x[16:]))
            marks += out[at + 56:start] != one
            out[at + 56:start] = one
    for start, end, kind in records(out, 0, 100):
        if kind == PRELUDE:
            del out[start:end]
            tail, = struct.unpack_from("<Q", out, len(out) - 16)
            struct.pack_into("<Q", out, len(out) - 16, tail - (end - start))
        if kind == pbsgen.ENTRY:
            break
    return bytes(out), marks


def in_order(a):
    """The client puts a file of its own at the end."""
    return not any(e["path"].endswith(".pxarexclude-cli")
                   for e in a["pxar"]["list"])


TREES = [(snap, name, a) for snap, name, a, _ in archives("tree")
         if name.endswith((".pxar.didx", ".mpxar.didx")) and in_order(a)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("n", range(len(TREES)), ids=lambda n: ":".join(
    (TREES[n][0].split("/")[-2] + TREES[n][0][-20:-15], TREES[n][1])))
def test_tree(n, fx, mounts, site):
    snap, name, a = TREES[n]
    split = name.endswith(".mpxar.didx")
    shown = check.shown_name(name)[0]
    there = mounts(fx["plain"], name="there")
    m = site.mount("archive=" + ("split" if split else "pxar"))
    top = writing.begin(m)
    copy_tree(there / f"{snap}/{shown}", f"{top}/{shown}")
    want = listing.from_expected(a["pxar"])
    listing.assert_same(want, listing.from_directory(f"{top}/{shown}"),
                        "current")
    path = f"{site.store}/{writing.publish(m)}"
    m.stop()
    theirs = index(os.path.join(fx["plain"], snap, name))[1]
    ours = index(f"{path}/{name}")[1]
    stream, cuts = content(fx["plain"], theirs)
    wanted, marks = ours_of(stream, a)
    got, our_cuts = content(site.store, ours)
    if split:
        compare_split(wanted, got)
        return
    assert got == wanted
    if "smallchunks" not in snap:
        # A byte that changes changes the chunk it is in, no other.
        assert len(set(cuts) ^ set(our_cuts)) <= 2 * marks
        assert marks or theirs == ours
    catalogs = [index(os.path.join(d, "catalog.pcat1.didx"))[1]
                for d in (os.path.join(fx["plain"], snap), path)]
    if len(list(archives_of(snap))) == 1:
        assert content(fx["plain"], catalogs[0])[0] == \
            content(site.store, catalogs[1])[0]


def archives_of(snap):
    return (name for s, name, _ in TREES if s == snap)


def compare_split(want, got):
    """All but where payloads lie, which depends on what was reused, and sizes
    in tables, which do too."""
    assert len(want) == len(got)
    for at, end, kind in records(want, 0, len(want)):
        a, b = want[at:end], got[at:end]
        if kind == pbsgen.PAYLOAD_REF:
            a, b = a[:16] + a[24:], b[:16] + b[24:]
        elif kind == pbsgen.GOODBYE:
            a, b = ([r[i:i + 16] for i in range(16, len(r) - 24, 24)] +
                    [r[len(r) - 24:]] for r in (a, b))
        assert a == b, f"at {at}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("group, form", [
    ("ct/200", "pxar"), ("host/myhost", "split"), ("vm/100", "split"),
    ("host/smallchunks", "split")])
def test_taken_over(group, form, fx, tmp):
    """On top of a snapshot of the real server nothing is made anew that has
    not changed."""
    store = fx.copy("plain", tmp + "/store")
    s = writing.Site(store, tmp)
    m = s.mount("archive=" + form)
    latest = os.readlink(m / f"{group}/latest")
    before = manifest(f"{store}/{group}/{latest}")
    chunks = chunk_names(store)
    want = writing.contents(m / f"{group}/{latest}/")
    top = writing.begin(m, group)
    have = writing.contents(top)
    for name in ("client.log", *writing.MADE):
        want.pop(name, None)
        have.pop(name, None)
    writing.same(want, have, "current")
    trees.write(top + "/zz.conf", b"x")
    path = f"{store}/{writing.publish(m, group)}"
    m.stop()
    after = manifest(path)
    assert after.pop("zz.conf.blob")
    if group == "host/myhost":
        # What the client noted of its own options is not ours to repeat.
        assert after.pop("root.mpxar.didx") != before.pop("root.mpxar.didx")
    else:
        assert chunk_names(store) == chunks
    assert after == before
    for name in after:
        if name.endswith("idx"):
            assert index(f"{path}/{name}") == \
                index(f"{store}/{group}/{latest}/{name}"), name


def chunk_names(store):
    return {n for _, _, names in os.walk(store + "/.chunks") for n in names}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("group, form", [
    ("ct/200", "split"), ("host/myhost", "pxar"),
    ("host/smallchunks", "pxar")])
def test_other_form(group, form, fx, tmp):
    """An archive of the other form is written in that which was asked for;
    what it holds stays the same."""
    store = fx.copy("plain", tmp + "/store")
    s = writing.Site(store, tmp)
    m = s.mount("archive=" + form)
    latest = m / f"{group}/" + os.readlink(m / f"{group}/latest")
    want = listing.from_directory(latest + "/root")
    before = chunk_sizes(store)
    top = writing.begin(m, group)
    trees.write(top + "/zz.conf", b"x")
    path = writing.publish(m, group)
    listing.assert_same(want, listing.from_directory(m / path + "/root"),
                        group)
    names = set(manifest(f"{store}/{path}"))
    assert ("root.pxar.didx" in names) == (form == "pxar")
    assert ("catalog.pcat1.didx" in names) == (form == "pxar")
    new = {n: z for n, z in chunk_sizes(store).items() if n not in before}
    # Payloads stay in the chunks they are in: a header in front of them is
    # the same in both forms.
    assert len(new) <= 2 and sum(new.values()) < 100_000
    m.stop()
    fmtcheck.clean(fmtcheck.Directory(store), all_chunk_dirs=False)


def chunk_sizes(store):
    return {n: os.path.getsize(os.path.join(top, n))
            for top, _, names in os.walk(store + "/.chunks") for n in names}
