# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies between datastores: what arrives, what is asked for, what is sent."""
import hashlib
import json
import os
import signal
import subprocess

import pytest

from pbs3fs_test import fixtures, fmtcheck
from pbs3fs_test.mount import run
from pbs3fs_test.paths import DATA, PBS3FS

TREE = "host/myhost/2024-01-04T00:00:07Z/root"


@pytest.fixture
def made(new_bucket, tmp):
    """made(): an empty datastore in a bucket of this test's own."""
    def make():
        b = new_bucket([])
        run("create", b.store, "-o", ",".join(b.options()))
        return b
    return make


@pytest.fixture
def directory(tmp):
    """directory(name): an empty datastore, without the 65536 directories,
    which take their time to look at."""
    def make(name):
        path = os.path.join(tmp, name)
        os.makedirs(os.path.join(path, ".chunks"), mode=0o750)
        return path
    return make


@pytest.fixture
def copy(tmp):
    """copy(from, to, *args): what it says with --json; to and from are paths
    or buckets."""
    def go(a, b, *args, check=True, opts=()):
        o = [f"state={tmp}/state"]
        for where in (a, b):
            if not isinstance(where, str):
                o += where.options()
        o += ["cache-size=0", *opts]
        p = run("copy", "--json", getattr(a, "store", a),
                getattr(b, "store", b), *args, "-o",
                ",".join(dict.fromkeys(o)), check=check)
        out = json.loads(p.stdout) if p.stdout else {}
        return (out, p) if not check else out
    return go


def content(directory):
    """Keys below the datastore, and where their content is."""
    return {k.split("/", 1)[1]: v
            for k, v in fixtures.store_objects(directory, "x")
            if "/.pbs3fs/" not in k}


def body(x):
    if isinstance(x, bytes):
        return x
    with open(x, "rb") as f:
        return f.read()


def same(a, b):
    """Two directories hold the same snapshots."""
    a, b = content(a), content(b)
    assert not {k for k in set(a) ^ set(b) if k.startswith(".cnt/")}
    # What no index refers to is no part of it, nor what a death has left.
    b = {k: v for k, v in b.items() if "/.tmp_" not in k}
    more = set(b) - set(a)
    assert not more
    for k in b:
        assert digest(body(a[k])) == digest(body(b[k])), k


def digest(data):
    return hashlib.sha256(data).hexdigest()


def export(store, path, *opts):
    """What comes out; as it is large, only its digest."""
    args = ["-o", ",".join(["cache-size=0", *opts])]
    return digest(run("export", store, path, *args, text=False).stdout)


def test_directory_to_bucket_and_back(fx, made, directory, copy, gateway):
    b = made()
    first = copy(fx["plain"], b)
    assert first["failed"] == 0 and first["copied"] > 10
    assert first["chunks_by_server"] == 0
    assert first["cost"]["to"]["requests"]["stat"] <= 4
    # One for each that is new, and never a look at a single one.
    assert first["chunks_sent"] == len(
        [k for k in content(fx["plain"]) if k.startswith(".chunks/")])
    fmtcheck.clean(fmtcheck.Bucket.live(gateway.client(), b.name,
                                        b.datastore))
    since = gateway.mark()
    again = copy(fx["plain"], b)
    assert again["there"] == first["copied"]
    assert again["chunks_sent"] + again["copied"] + again["chunks"] == 0
    counts = gateway.counts(since)
    assert "PUT" not in counts and "DELETE" not in counts
    assert not [r for r in gateway.requests(since) if "/.chunks/" in r.key]
    assert sum(counts.values()) <= 8, counts

    back = directory("back")
    copy(b, back)
    same(fx["plain"], back)
    fmtcheck.clean(fmtcheck.Directory(back), modes=False,
                   all_chunk_dirs=False)
    assert export(back, TREE) == export(fx["plain"], TREE) == \
        export(b.store, TREE, *b.options())


def test_the_server_copies(bucket, made, copy, gateway):
    """Not one byte of a chunk passes through the program."""
    a, b = bucket("plain"), made()
    since = gateway.mark()
    out = copy(a, b)
    assert out["failed"] == 0 and out["chunks_sent"] == 0
    assert out["chunks_by_server"] > 100
    requests = gateway.requests(since)
    assert not [r for r in requests
                if r.verb == "GET" and "/.chunks/" in r.key]
    puts = [r for r in requests if r.verb == "PUT" and "/.chunks/" in r.key]
    assert len(puts) == out["chunks_by_server"]
    assert {r.bucket for r in puts} == {b.name}
    # What was written is the small objects.
    small = sum(o["Size"] for o in objects(b) if "/.cnt/" in o["Key"])
    wrote = out["cost"]["to"]["bytes_written"]
    assert wrote <= small + 4096
    assert out["cost"]["to"]["requests"]["copy"] == len(puts)
    fmtcheck.clean(fmtcheck.Bucket.live(gateway.client(), b.name,
                                        b.datastore))
    assert export(a.store, TREE, *a.options()) == \
        export(b.store, TREE, *b.options())
    # Other keys: not the same owner's, as far as anybody can tell.
    other = made()
    out = copy(a, other, "host/myhost", "--check")
    assert out["chunks_by_server"] == 0 and out["chunks_sent"] > 0


def objects(b):
    c = b.gateway.client()
    return [o for page in
            c.get_paginator("list_objects_v2").paginate(Bucket=b.name)
            for o in page.get("Contents", [])]


def test_encrypted_without_its_key(fx, directory, copy):
    to = directory("to")
    out = copy(fx["encrypted"], to)
    assert out["failed"] == 0 and out["chunks_unproven"] > 0
    same(fx["encrypted"], to)
    fmtcheck.clean(fmtcheck.Directory(to), modes=False,
                   all_chunk_dirs=False)
    tree = "host/mixed/2024-01-02T00:00:03Z/root"
    key = "keyfile=" + os.path.join(DATA, "keys", "key-none.json")
    assert export(to, tree, key) == export(fx["encrypted"], tree, key)


def test_killed_and_taken_up_again(fx, directory, copy, tmp):
    to = directory("to")
    script = os.path.join(tmp, "faults")
    for rule in ("put .chunks/* kill after=40",
                 "put .cnt/*index.json.blob kill after=1",
                 "put .cnt/*index.json.blob kill-after after=2"):
        with open(script, "w") as f:
            f.write(rule + "\n")
        p = subprocess.run([PBS3FS, "copy", fx["plain"], to, "-o",
                            f"state={tmp}/state,fault={script}"],
                           capture_output=True)
        assert p.returncode == -signal.SIGKILL, p.stderr
        fmtcheck.clean(fmtcheck.Directory(to), modes=False,
                   all_chunk_dirs=False, after_crash=True)
    assert copy(fx["plain"], to)["failed"] == 0
    same(fx["plain"], to)
    fmtcheck.clean(fmtcheck.Directory(to), modes=False,
                   all_chunk_dirs=False, after_crash=True)


def test_damage_is_not_copied(fx, directory, copy, tmp):
    a = fx.copy("plain", os.path.join(tmp, "a"))
    name = next(k for k in sorted(content(a)) if k.startswith(".chunks/") and
                os.path.getsize(os.path.join(a, k)) > 1000)
    with open(os.path.join(a, name), "r+b") as f:
        f.seek(500)
        byte = f.read(1)
        f.seek(500)
        f.write(bytes([byte[0] ^ 1]))
    to = directory("to")
    out, p = copy(a, to, check=False)
    assert p.returncode == 3
    assert os.path.basename(name) in p.stderr
    assert out["failed"] >= 1 and out["copied"] > 5
    for s in out["snapshots"]:
        there = os.path.isdir(os.path.join(to, s["path"]))
        assert there == (s["outcome"] == "copied"), s
        assert s["outcome"] == "copied" or s["path"] in p.stderr
    assert not os.path.exists(os.path.join(to, name))
    fmtcheck.clean(fmtcheck.Directory(to), modes=False,
                   all_chunk_dirs=False)


def test_a_mounted_target_is_refused(fx, directory, copy, mounts, tmp):
    to = directory("to")
    mounts(to, f"state={tmp}/state", mode="rw")
    _, p = copy(fx["plain"], to, check=False)
    assert p.returncode == 1
    assert "hint:" in p.stderr
    assert os.listdir(os.path.join(to, ".chunks")) == []
    assert not os.path.exists(os.path.join(to, "host"))


def test_wrong_words(fx, directory, copy):
    to = directory("to")
    assert copy(to, to, check=False)[1].returncode == 2
    _, p = copy(fx["plain"], to, "host/no-such", check=False)
    assert p.returncode == 1 and "nothing of that name" in p.stderr
    _, p = copy(fx["plain"], to, "host/../x", check=False)
    assert p.returncode == 2
    p = run("copy", fx["plain"], to, "--from-nonsense=1", check=False)
    assert p.returncode == 2
    dry, _ = copy(fx["plain"], to, "--dry-run", check=False)
    assert dry["copied"] > 10 and dry["estimate"]["requests"]["put"] > 100
    assert not os.path.exists(os.path.join(to, "host"))
