# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole mount against an expected listing."""
import errno
import json
import os

from . import listing

TYPES = ("ct", "host", "vm")


def shown_name(server_name):
    """(name in the mount, what it is) of an archive's server name."""
    base, _, suffix = server_name.rpartition(".")
    if suffix == "didx":
        for end in (".pxar", ".mpxar", ".ppxar"):
            if base.endswith(end):
                return base[:-len(end)], "tree"
        return base, "stream"
    return base, {"fidx": "image", "blob": "blob"}[suffix]


def ns_path(ns):
    return "/".join("ns/" + part for part in ns.split("/") if part)


def group_path(group):
    return os.path.join(ns_path(group["ns"]), group["group"])


def snapshots(group):
    """{time: snapshot}, finished ones."""
    return {s["snapshot"].rpartition("/")[2]: s for s in group["snapshots"]
            if s["finished"]}


def readable(archive):
    """False for what needs a key that is not there."""
    return "content_sha256" in archive


def _names(directory):
    return sorted(os.listdir(directory))


def hierarchy(top, expected):
    """Namespaces, groups and snapshots are those expected, and no others."""
    want_groups = {}
    for g in expected["groups"]:
        want_groups.setdefault(g["ns"], set()).add(g["group"])
    namespaces = [""]
    found = set()
    while namespaces:
        ns = namespaces.pop()
        found.add(ns)
        base = os.path.join(top, ns_path(ns))
        names = set(_names(base))
        groups = {f"{t}/{i}" for t in TYPES if t in names
                  for i in _names(os.path.join(base, t))}
        assert groups == want_groups.get(ns, set()), ns
        allowed = {"ns", *TYPES}
        if not ns:
            allowed.add(".pbs3fs")
        assert names <= allowed, (ns, names)
        if "ns" in names:
            namespaces += [f"{ns}/{n}" if ns else n
                           for n in _names(os.path.join(base, "ns"))]
    assert found == set(expected["namespaces"])


def group(top, g):
    """A group's files, its snapshots and `latest`."""
    path = os.path.join(top, group_path(g))
    snaps = snapshots(g)
    names = set(_names(path))
    extra = {"latest"} if snaps else set()
    for key in ("owner", "notes"):
        text = g[key]
        file = os.path.join(path, key)
        if text is None:
            assert key not in names or os.path.getsize(file) == 0
        else:
            with open(file) as f:
                assert f.read().rstrip("\n") == text.rstrip("\n")
        extra.add(key)
    assert names - extra == set(snaps), path
    if snaps:
        assert os.readlink(os.path.join(path, "latest")) == max(snaps)
        assert os.path.isdir(os.path.join(path, "latest"))


def archive(path, kind, a):
    """The content of a single archive."""
    if kind == "tree":
        want = listing.from_expected(a["pxar"])
        listing.assert_same(want, listing.from_directory(path), path)
        return
    size, digest = listing.sha256_file(path)
    assert digest == a["content_sha256"], (path, size, digest)
    assert size == os.path.getsize(path), path
    assert size == a.get("content_size", a["size"]), path


def locked(path, kind, a):
    """Seen in listings, and not to be opened."""
    st = os.lstat(path)
    try:
        if kind == "blob":
            head = 44
            want = a["blob"]["raw_size"] - head
            packed = a["blob"]["kind"] == "enc-zstd"
            assert st.st_size > 0 if packed else st.st_size == want, path
        else:
            # A tree too: what nobody can enter is shown as a file.
            assert st.st_size == a["size"], path
        with open(path, "rb"):
            pass
    except OSError as e:
        assert e.errno == errno.ENOKEY, (path, e)
        return
    raise AssertionError(f"{path} opened without its key")


def merged(snapshot):
    """{name in the mount: (kind, archive)}; split archives as one."""
    out = {}
    for a in snapshot["archives"]:
        if a["filename"].endswith(".ppxar.didx"):
            continue
        name, kind = shown_name(a["filename"])
        assert name not in out
        out[name] = kind, a
    return out


def snapshot(path, s):
    """Everything in one snapshot; returns how many archives were locked."""
    archives = merged(s)
    want = {"index.json", *archives}
    if "client_log" in s:
        want.add("client.log")
    assert set(_names(path)) == want, path
    with open(os.path.join(path, "index.json")) as f:
        assert json.load(f) == s["manifest"], path
    if "content_sha256" in s.get("client_log", ()):
        log = s["client_log"]
        assert listing.sha256_file(os.path.join(path, "client.log")) == \
            (log["content_size"], log["content_sha256"])
    n = 0
    for name, (kind, a) in archives.items():
        if readable(a):
            archive(os.path.join(path, name), kind, a)
        else:
            locked(os.path.join(path, name), kind, a)
            n += 1
    return n


def everything(top, expected):
    """The whole mount; returns (snapshots, locked archives)."""
    hierarchy(top, expected)
    n = n_locked = 0
    for g in expected["groups"]:
        group(top, g)
        for when, s in snapshots(g).items():
            n_locked += snapshot(os.path.join(top, group_path(g), when), s)
            n += 1
    assert n
    return n, n_locked


# What of a mount can be read, and what not.

PAGE = 4096


def bad_pages(path, size):
    """Page numbers that fail with EIO, and what the others hold."""
    bad, good = [], {}
    fd = os.open(path, os.O_RDONLY)
    try:
        for n in range((size + PAGE - 1) // PAGE):
            try:
                good[n] = os.pread(fd, PAGE, n * PAGE)
            except OSError as e:
                assert e.errno == errno.EIO, (path, e)
                bad.append(n)
    finally:
        os.close(fd)
    return bad, good


def failures(top):
    """
    Reads all below top.  {path: "list", "open" or [bad pages]} of what does
    not work, and {path: content or link target} of what does, all relative.
    """
    failed, read = {}, {}
    stack = [""]
    while stack:
        rel = stack.pop()
        path = os.path.join(top, rel)
        try:
            if os.path.islink(path):
                read[rel] = os.readlink(path)
                continue
            st = os.lstat(path)
            if os.path.isdir(path):
                stack += [os.path.join(rel, n) for n in _names(path)]
                continue
            bad, good = bad_pages(path, st.st_size)
        except OSError as e:
            assert e.errno in (errno.EIO, errno.ENOKEY), (path, e)
            failed[rel] = errno.errorcode[e.errno]
            continue
        if bad:
            failed[rel] = bad
        read[rel] = good
    return failed, read
