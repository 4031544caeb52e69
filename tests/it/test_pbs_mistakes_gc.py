# SPDX-License-Identifier: GPL-3.0-or-later
"""
What Proxmox Backup does wrong with a bucket when it collects garbage and
verifies, measured on the real server: here each of it is done right.
"""
import hashlib
import json
import os
import re

import pytest

from pbs3fs_test import fixtures, pbsgen
from pbs3fs_test.mount import run

T1, T2, T3 = (f"2024-01-0{n}T00:00:00Z" for n in (1, 2, 3))
P = "store/"
DENIED = (1, 5)


class Site:
    """A bucket with a datastore, and a host that knows it."""
    def __init__(self, b, tmp):
        self.name, self.store = b.name, b.store
        self.client = b.gateway.client()
        self.opts = ",".join([f"cache={tmp}/cache", f"state={tmp}/state",
                              *b.options()])

    def run(self, *args, check=True):
        return run(*args, "-o", self.opts, check=check)

    def json(self, command, *args, status=(0,)):
        p = self.run(command, self.store, "--json", *args, check=False)
        assert p.returncode in status, p.stderr
        return json.loads(p.stdout)

    def gc(self, *args, status=(0,)):
        return self.json("gc", *args, status=status)

    def keys(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=P + prefix)
        return {o["Key"][len(P):] for page in pages
                for o in page.get("Contents", ())}

    def put(self, key, body):
        self.client.put_object(Bucket=self.name, Key=P + key, Body=body)

    def get(self, key):
        return self.client.get_object(Bucket=self.name,
                                      Key=P + key)["Body"].read()

    def delete(self, key):
        self.client.delete_object(Bucket=self.name, Key=P + key)

    def content(self):
        """All that is in it, but for what we keep there for ourselves."""
        return {k: self.get(k) for k in self.keys()
                if not k.startswith((".pbs3fs/", ".in-use"))}


def made(top):
    """host/a with two snapshots that share a chunk."""
    s = pbsgen.Store(top)
    for when, stream in ((T1, b"A" * 1000 + b"B" * 1000),
                         (T2, b"B" * 1000 + b"C" * 1000)):
        snap = s.snapshot("host", "a", when)
        snap.dynamic("data.didx", stream, 1000)
        snap.finish()
    return top


def digest(data):
    return hashlib.sha256(data).hexdigest()


def key_of(data):
    d = digest(data)
    return f".chunks/{d[:4]}/{d}"


@pytest.fixture
def site(new_bucket, tmp):
    top = made(os.path.join(tmp, "made"))
    b = new_bucket(fixtures.store_objects(top, "store"))
    s = Site(b, tmp)
    # The first to know it, and its owner.
    s.run("protect", s.store, "off", f"host/a/{T1}")
    return s


def foreign(site, tmp, group="host/other", kept=True):
    """Somebody else has copied a snapshot into the bucket this moment."""
    top = os.path.join(tmp, f"foreign-{group.replace('/', '-')}")
    s = pbsgen.Store(top)
    kind, ident = group.split("/")
    snap = s.snapshot(kind, ident, T3)
    pieces = [bytes([n]) * 1000 for n in range(5)]
    snap.dynamic("data.didx", b"".join(pieces), 1000)
    snap.finish()
    for key, path in fixtures.store_objects(top, "store"):
        if kept or "/.chunks/" in key:
            with open(path, "rb") as f:
                site.put(key[len(P):], f.read())
    return pieces


def test_young_chunks_of_others(site, tmp):
    """A server deletes at once what it has not put itself, whatever its age;
    here the age of the object counts."""
    pieces = foreign(site, tmp, kept=False)
    site.put(key_of(b"nobody's"), pbsgen.blob(b"nobody's"))
    before = site.content()
    j = site.gc()
    assert j["removed"] == 0 and j["pending"] == 6
    assert site.content() == before
    # Its snapshot comes a moment later.
    foreign(site, tmp)
    j = site.gc("--cutoff", "0")
    assert j["removed"] == 1
    assert {key_of(p) for p in pieces} <= site.keys()
    assert key_of(b"nobody's") not in site.keys()
    run("cat", site.store, f"host/other/{T3}/data", "-o", site.opts)


def test_snapshot_of_another(site, tmp):
    """A complete snapshot that this host has never listed keeps its chunks,
    also if no age does."""
    site.gc("--cutoff", "0")
    pieces = foreign(site, tmp)
    before = site.content()
    j = site.gc("--cutoff", "0")
    assert j["removed"] == 0 and j["missing"] == 0
    assert site.content() == before
    assert len(pieces) == 5
    # Nor does what is in the cache decide when that snapshot goes.
    site.run("forget", site.store, f"host/other/{T3}")
    assert site.gc("--cutoff", "0")["removed"] == 5


def test_bad_chunk(site):
    """A server never collects again once it has renamed a chunk.  Here it is
    kept as long as it is all there is, and goes with the garbage then."""
    key = key_of(b"B" * 1000)
    good = site.get(key)
    site.put(key, good[:-1] + bytes([good[-1] ^ 1]))
    j = site.json("verify", "--quarantine", status=(3,))
    bad = key + ".0.bad"
    assert bad in site.keys() and key not in site.keys()
    # A second look at the same store says the same, not that all is well.
    j = site.json("verify", status=(3,))
    assert {s["state"] for s in j["snapshots"]} == {"missing"}
    for _ in range(2):
        j = site.gc("--cutoff", "0", status=(3,))
        assert (j["missing"], j["bad"], j["removed_bad"]) == (1, 1, 0)
        assert bad in site.keys()
    site.put(key, good)
    j = site.gc("--cutoff", "0")
    assert (j["missing"], j["removed_bad"]) == (0, 1)
    assert bad not in site.keys() and key in site.keys()
    assert site.gc("--cutoff", "0")["bad"] == 0


def test_bad_chunk_of_nobody(site):
    """One that no index refers to is garbage like any other."""
    key = key_of(b"nobody's") + ".3.bad"
    site.put(key, b"?")
    assert site.gc()["removed_bad"] == 0
    assert site.gc("--cutoff", "0")["removed_bad"] == 1
    assert key not in site.keys()


def strange_keys():
    d = digest(b"A" * 1000)
    n = digest(b"nobody's")
    wrong = "0000" if d[:4] != "0000" else "0001"
    return [
        f".chunks/{wrong}/{d}",		# a server takes it for the chunk
        f".chunks/{wrong}/{n}",
        f".chunks/{n}", f".chunks/{n[:4]}/x/{n}",
        f".chunks/{n[:4]}/{n.upper()}", f".chunks/{n[:4]}/{n}.10.bad",
        f".chunks/{n[:4]}/{n}.bad", f".chunks/{n[:4]}/{n[:-1]}",
        ".chunks/readme", f".chunks/{n[:4]}/{n}.tmp_Ab12Cd",
    ]


def test_strange_chunks(site):
    """What is no chunk is reported, counted and left alone, and stands for
    none."""
    strange = strange_keys()
    for key in strange:
        site.put(key, b"strange")
    for _ in range(2):
        j = site.gc("--cutoff", "0")
        assert j["strange"] == len(strange) and j["removed"] == 0
        assert {o["key"] for o in j["strange_objects"]} == set(strange)
    assert set(strange) <= site.keys()
    # A chunk in the wrong place is not the chunk.
    site.delete(key_of(b"A" * 1000))
    j = site.gc("--cutoff", "0", status=(3,))
    assert j["missing"] == 1
    assert j["missing_chunks"][0]["key"].endswith(digest(b"A" * 1000))
    assert T1 in j["missing_chunks"][0]["in"]


ODD = [
    ".cnt/host/a/2024-13-01T00:00:00Z/data.didx",
    f".cnt/ns/.bad/host/a/{T1}/data.didx",
    f".cnt/ns/ok/host/b@d/{T1}/data.didx",
    f".cnt/stray/data.didx", ".cnt/data.didx",
    f".cnt/host/a/{T1}/deep/er/data.didx",
]


def test_odd_names(site, tmp):
    """One odd name ends a server's collections.  Here what it refers to is
    kept, and all else goes on: also listing, and forgetting others."""
    gone = b"gone" * 300
    s = pbsgen.Store(os.path.join(tmp, "odd"))
    kept = {}
    for n, key in enumerate(ODD):
        kept[key] = b"odd %d" % n * 100
        snap = s.snapshot("host", f"x{n}")
        snap.dynamic("data.didx", kept[key], 4096)
        with open(snap.dir + "/data.didx", "rb") as f:
            site.put(key, f.read())
        site.put(key_of(kept[key]), pbsgen.blob(kept[key]))
    site.put(key_of(gone), pbsgen.blob(gone))
    j = site.gc("--cutoff", "0")
    assert (j["removed"], j["missing"]) == (1, 0)
    assert {key_of(k) for k in kept.values()} <= site.keys()
    assert key_of(gone) not in site.keys()
    assert len(j["stray_indices"]) == len(ODD), "they are told of"
    out = site.run("ls", site.store, "host/a").stdout
    assert T1 in out and T2 in out and "2024-13" not in out
    site.run("forget", site.store, f"host/a/{T2}")
    assert set(ODD) <= site.keys()
    assert site.gc("--cutoff", "0")["removed"] == 1
    j = site.json("verify")
    assert {s["state"] for s in j["snapshots"]} == {"ok"}
    # One of them goes by hand: then what it alone referred to is garbage.
    site.delete(ODD[0])
    assert site.gc("--cutoff", "0")["removed"] == 1
    assert key_of(kept[ODD[0]]) not in site.keys()


def test_verify_says_what_it_found(site):
    """A server may call a snapshot good in which it has just found a damaged
    chunk, and then every later backup is broken as well."""
    key = key_of(b"B" * 1000)
    good = site.get(key)
    for _ in range(3):
        site.put(key, good[:-1] + bytes([good[-1] ^ 1]))
        j = site.json("verify", status=(3,))
        assert {s["state"] for s in j["snapshots"]} == {"damaged"}
        assert site.get(key) != good, "nothing is renamed unless asked for"
        site.put(key, good)
        j = site.json("verify")
        assert {s["state"] for s in j["snapshots"]} == {"ok"}


def commands(site, tmp):
    """All that delete or replace something, in an order in which each finds
    something to do."""
    other = os.path.join(tmp, "made")
    return [
        ["repair", site.store, "--from", other],
        ["verify", site.store, "--quarantine"],
        ["prune", site.store, "host/a", "--keep-last=1"],
        ["copy", other, site.store],
        ["protect", site.store, "on", f"host/a/{T2}"],
        ["forget", site.store, f"host/a/{T1}"],
        ["gc", site.store, "--cutoff", "0"],
    ]


def test_in_use_elsewhere(site, tmp):
    """Nothing is deleted, replaced or added in a bucket that another host
    writes into, unless it is taken over; what only looks may look."""
    def others():
        site.put(".in-use", b'{"hostname":"elsewhere"}')

    def owner():
        return json.loads(site.get(".in-use"))["hostname"]

    site.put(key_of(b"nobody's"), pbsgen.blob(b"nobody's"))
    site.delete(key_of(b"C" * 1000))
    others()
    before = site.content()
    for args in commands(site, tmp):
        p = site.run(*args, check=False)
        assert p.returncode in DENIED, (args, p.stderr)
        assert "elsewhere" in p.stderr and "takeover" in p.stderr
        assert site.content() == before and owner() == "elsewhere"
    j = site.gc("--cutoff", "0", "--dry-run", status=(3,))
    assert j["removed"] == 1
    site.run("prune", site.store, "host/a", "--keep-last=1", "--dry-run")
    site.run("verify", site.store, "--no-record", check=False)
    assert site.content() == before and owner() == "elsewhere"
    for args in commands(site, tmp):
        others()
        before = site.content()
        if args[0] == "verify":
            site.put(key_of(b"B" * 1000), b"damaged")
        p = site.run(*args, "--takeover", check=False)
        assert p.returncode in (0, 3), (args, p.stderr)
        assert site.content() != before, args
        assert owner() != "elsewhere"
        if args[0] == "verify":
            for key in site.keys():
                if key.endswith(".bad"):
                    site.put(key_of(b"B" * 1000),
                             pbsgen.blob(b"B" * 1000))


def test_limits(site):
    """A collection that may not go on deletes nothing that it is not sure of,
    and says which limit it was; the next one does the rest."""
    for n in range(5):
        site.put(key_of(b"garbage%d" % n), pbsgen.blob(b"garbage%d" % n))
    before = site.content()
    opts = site.opts
    for n in range(1, 20):
        site.opts = opts + f",max-requests={n}"
        p = site.run("gc", site.store, "--cutoff", "0", check=False)
        if p.returncode == 0:
            break
        assert p.returncode == 6, p.stderr
        assert re.search(rf"max-requests: {n} were made", p.stderr)
        assert "hint: raise max-requests" in p.stderr
        assert site.content() == before
    assert 3 < n < 19
    site.opts = opts
    j = site.gc("--cutoff", "0")
    assert j["removed"] == 0 and j["missing"] == 0
    assert len(before) - len(site.content()) == 5
