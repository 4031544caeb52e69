# SPDX-License-Identifier: GPL-3.0-or-later
"""
Where Proxmox Backup's own server loses data or stops at a name: buckets with
objects that fit no rule, namespaces without anything in them, notes of groups
that are gone, snapshots that went behind our back.
"""
import json
import os
import signal

import pytest

from pbs3fs_test import fixtures, pbsgen
from pbs3fs_test.mount import run, wait_for

T1, T2, T3 = (f"2024-01-0{n}T00:00:00Z" for n in (1, 2, 3))
BAD_TIME = "2024-13-01T00:00:00Z"

# Those that stop the server's refresh, listing or collection, and those that
# it loses or ignores.
STRANGE = {
    ".cnt/",
    ".cnt/host/",
    ".cnt/host/h/",
    ".cnt/host/h",
    f".cnt/host/odd/{T1}",
    ".cnt//double/x",
    ".cnt/README",
    ".cnt/foo/bar",
    ".cnt/host/file",
    ".cnt/host/odd/not-a-time/f",
    f".cnt/host/odd/{BAD_TIME}/index.json.blob",
    f".cnt/host/odd/{T1}/no-archive",
    ".cnt/ns/bad name/host/x/owner",
    ".cnt/ns/-bad/.namespace",
    ".cnt/ns/../host/x/owner",
    ".cnt/host/../h2/owner",
    ".cnt/host/gone/notes",
    # No XML can hold this one as it is.
    ".cnt/host/bell\x07/x",
}
# Not below .cnt/, so nobody looks.
ELSEWHERE = {".cnt-other/x", ".cnt-other/", ".cnt0", "other/.cnt/host/h/owner",
             ".chunks-other/0000/x"}


@pytest.fixture
def bucket_of(new_bucket, tmp):
    """A bucket with some honest groups, and these objects besides."""
    def make(*strange):
        s = pbsgen.Store(f"{tmp}/store")
        for ident in ("h", "h1", "odd"):
            for when in (T1, T2):
                snap = s.snapshot("host", ident, when)
                snap.blob("a.conf.blob", when.encode())
                snap.fixed("d.img.fidx", [pbsgen.noise(5000, hash(when) &
                                                       0xffff)])
                snap.finish()
        objects = dict(fixtures.store_objects(s.path, "store"))
        objects["store/.cnt/ns/empty/.namespace"] = b""
        objects["store/.cnt/ns/empty/ns/inner/.namespace"] = b""
        objects.update({"store/" + k: b"strange " + k.encode()
                        for k in strange})
        b = new_bucket(objects.items())
        b.opts = ["-o", ",".join([*b.options(), f"cache={tmp}/c",
                                  f"state={tmp}/s"])]
        return b
    return make


def shown(key):
    """As text has it."""
    return key.replace("\x07", "\\x07")


def objects(b):
    c = b.gateway.client()
    return {o["Key"].removeprefix("store/"): o["ETag"]
            for page in c.get_paginator("list_objects_v2").paginate(
                Bucket=b.name)
            for o in page.get("Contents", [])}


def test_strange_objects_are_named(bucket_of):
    b = bucket_of(*STRANGE, *ELSEWHERE)
    before = objects(b)
    for _ in range(2):
        said = json.loads(run("refresh", b.store, "--json", *b.opts).stdout)
        assert set(said["ignored_keys"]) == STRANGE
        assert said["ignored"] == len(STRANGE)
    text = run("refresh", b.store, *b.opts).stdout.splitlines()
    assert {x.removeprefix("ignored ") for x in text
            if x.startswith("ignored ")} == {shown(k) for k in STRANGE}
    names = run("ls", "-R", b.store, *b.opts).stdout
    assert f"host/h/{T1}/d.img" in names and "ns/empty/ns/inner" in names
    assert "bad" not in names and "README" not in names
    assert objects(b) == before


def test_strange_objects_stop_nothing(bucket_of, mounts, tmp):
    """A mount warns of each once; whatever changes leaves them alone."""
    b = bucket_of(*STRANGE, *ELSEWHERE)
    before = objects(b)
    m = mounts(b.store, *b.options(), f"cache={tmp}/c", f"state={tmp}/s",
               mode="rw")
    for _ in range(2):
        done = m.status()["refreshes"]
        m.proc.send_signal(signal.SIGHUP)
        wait_for(lambda n=done: m.status()["refreshes"] > n, 20, "a refresh")
    log = m.log()
    for key in STRANGE:
        assert log.count(f" {shown(key)} is nothing") == 1, key
    assert m.status()["tree"]["ignored"] == len(STRANGE)
    with open(m / f"host/h/{T2}/a.conf") as f:
        assert f.read() == T2
    assert os.listdir(m / "ns/empty/ns/inner/host") == []
    with open(m / "host/h/current/a.conf", "a") as f:
        f.write("more")
    os.mkdir(m / f"host/h/{T3}")
    m.stop()
    run("prune", b.store, "--keep-last=1", "-R", *b.opts)
    run("forget", b.store, "host/h", "-R", *b.opts)
    # Something is in it that no group has: it stays, and so does that.
    p = run("forget", b.store, "host/odd", "-R", *b.opts, check=False)
    assert p.returncode == 1 and "there is .cnt/host/odd/" in p.stderr
    p = run("gc", b.store, "--cutoff", "0", "--json", *b.opts)
    after = objects(b)
    left = STRANGE | ELSEWHERE
    # What is below a snapshot goes with it.
    left.remove(f".cnt/host/odd/{T1}/no-archive")
    assert {k: after.get(k) for k in left} == {k: before[k] for k in left}
    groups = {"/".join(k.split("/")[1:3]) for k in after
              if k.startswith(".cnt/host/") and k.endswith("/owner")}
    assert groups == {"host/h1", "host/odd", "host/.."}
    assert f".cnt/host/h1/{T2}/index.json.blob" in after
    assert f".cnt/host/h1/{T1}/index.json.blob" not in after
    chunks = {k for k in after if k.startswith(".chunks/")}
    assert len(chunks) == 1


def test_empty_namespaces_stay(bucket_of):
    """A server loses them when it refreshes."""
    b = bucket_of()
    for _ in range(2):
        run("refresh", b.store, *b.opts)
        assert run("ls", b.store, "ns/empty/ns", *b.opts).stdout.split() == \
            ["inner"]
    run("forget", b.store, "host/h", "-R", *b.opts)
    assert ".cnt/ns/empty/.namespace" in objects(b)
    run("forget", b.store, "ns/empty/ns/inner", "-R", *b.opts)
    left = objects(b)
    assert ".cnt/ns/empty/.namespace" in left
    assert ".cnt/ns/empty/ns/inner/.namespace" not in left


def test_notes_do_not_come_back(bucket_of):
    """A server leaves those of a group it has removed, and shows them to the
    next group of that name."""
    b = bucket_of(".cnt/host/h/notes", ".cnt/host/gone/notes")
    said = json.loads(run("refresh", b.store, "--json", *b.opts).stdout)
    assert said["ignored_keys"] == [".cnt/host/gone/notes"]
    run("forget", b.store, "host/h", "host/gone", "-R", *b.opts)
    left = objects(b)
    assert not any(k.startswith((".cnt/host/h/", ".cnt/host/gone/"))
                   for k in left)
    said = json.loads(run("refresh", b.store, "--json", *b.opts).stdout)
    assert said["ignored"] == 0


def test_nothing_is_made_again(bucket_of, mounts, tmp):
    """Notes of a snapshot that another client has removed meanwhile: its
    manifest does not come back."""
    b = bucket_of()
    m = mounts(b.store, *b.options(), f"cache={tmp}/c", f"state={tmp}/s",
               mode="rw")
    with open(m / f"host/h/{T1}/index.json") as f:
        assert json.load(f)["backup-id"] == "h"
    for key in objects(b):
        if key.startswith(f".cnt/host/h/{T1}/"):
            b.gateway.client().delete_object(Bucket=b.name,
                                             Key="store/" + key)
    before = objects(b)
    with pytest.raises(OSError):
        os.setxattr(m / f"host/h/{T1}", "user.pbs3fs.notes", b"text")
    assert objects(b).keys() == before.keys()
    run("refresh", m.path)
    assert T1 not in os.listdir(m / "host/h")


def test_a_group_without_an_owner(bucket_of, mounts, tmp):
    """A server does not list it, and what is in it is lost to people."""
    b = bucket_of()
    c = b.gateway.client()
    c.delete_object(Bucket=b.name, Key="store/.cnt/host/h/owner")
    c.put_object(Bucket=b.name, Key="store/.cnt/host/h1/owner", Body=b"")
    m = mounts(b.store, *b.options(), f"cache={tmp}/c", f"state={tmp}/s")
    for ident in ("h", "h1"):
        with open(m / f"host/{ident}/{T1}/a.conf") as f:
            assert f.read() == T1


def test_in_a_directory(tmp):
    """What can be there of it."""
    s = pbsgen.Store(f"{tmp}/store")
    for ident in ("h", "odd"):
        s.snapshot("host", ident, T1).finish()
    strange = {f"host/odd/{BAD_TIME}/index.json.blob", "host/file",
               "host/odd/README", "ns/bad name/host/x/owner"}
    for path in strange:
        os.makedirs(os.path.dirname(f"{s.path}/{path}"), exist_ok=True)
        with open(f"{s.path}/{path}", "w") as f:
            f.write("strange")
    os.makedirs(f"{s.path}/ns/empty")
    for path in ("lost+found", "foo/bar"):
        os.makedirs(f"{s.path}/{path}")
    said = json.loads(run("refresh", s.path, "--json").stdout)
    assert {f".cnt/{p}" for p in strange} <= set(said["ignored_keys"])
    assert run("ls", s.path, "ns").stdout.split() == ["empty"]
    run("prune", s.path, "--keep-last=1", "-R")
    run("forget", s.path, "host/h", "-R")
    p = run("forget", s.path, "host/odd", "-R", check=False)
    assert p.returncode == 1
    run("gc", s.path, "--cutoff", "0")
    for path in (*strange, "lost+found", "foo/bar", "host/odd/owner"):
        assert os.path.exists(f"{s.path}/{path}"), path
    assert not os.path.exists(f"{s.path}/host/h")
