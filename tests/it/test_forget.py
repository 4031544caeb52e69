# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots, groups and namespaces go, and nothing beside them: names that
begin alike, protected ones, and a command that is killed in the middle."""
import hashlib
import json
import os
import shutil
import signal
import subprocess

import pytest

from pbs3fs_test import fixtures, pbsgen
from pbs3fs_test.mount import run
from pbs3fs_test.paths import PBS3FS

T1, T2 = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
GROUPS = (("", "vm", "10"), ("", "vm", "100"), ("", "vm", "1000"),
          ("a", "vm", "10"), ("ab", "vm", "10"), ("a/c", "vm", "10"),
          ("a/cd", "host", "h"), ("abc", "host", "h"), ("abc/d", "ct", "1"))
EMPTY = "a/empty", "abc/empty"


def fill(top):
    """A datastore with names that begin alike; groups have notes."""
    s = pbsgen.Store(top)
    for ns, kind, ident in GROUPS:
        for when in (T1, T2):
            snap = s.snapshot(kind, ident, when, ns=ns)
            snap.blob("a.conf.blob", when.encode())
            snap.finish()
        with open(f"{snap.group}/notes", "w") as f:
            f.write("kept\n")
    for ns in EMPTY:
        os.makedirs(os.path.join(
            top, *(p for n in ns.split("/") for p in ("ns", n))))
    return top


def md5(data):
    if isinstance(data, str):
        with open(data, "rb") as f:
            data = f.read()
    return hashlib.md5(data).hexdigest()


class Directory:
    def __init__(self, top):
        self.store = top
        self.options = []

    def objects(self):
        return {k: md5(v) for k, v in
                fixtures.store_objects(self.store, "store")
                if "/.pbs3fs/" not in k and not k.endswith("/.lock")}

    def put(self, key, data):
        path = os.path.join(self.store, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)


class Bucket:
    def __init__(self, b, tmp):
        self.b = b
        self.store = b.store
        self.options = [*b.options(), f"cache={tmp}/c", f"state={tmp}/s"]

    def objects(self):
        """The etag, which is the MD5 of the content."""
        c = self.b.gateway.client()
        return {o["Key"]: o["ETag"].strip('"')
                for page in c.get_paginator("list_objects_v2").paginate(
                    Bucket=self.b.name)
                for o in page.get("Contents", [])
                if o["Key"] != "store/.in-use"
                and not o["Key"].startswith("store/.pbs3fs/")}

    def put(self, key, data):
        self.b.gateway.client().put_object(
            Bucket=self.b.name, Key=f"store/.cnt/{key}", Body=data)


@pytest.fixture(params=["directory", "s3"])
def side(request, tmp):
    top = fill(f"{tmp}/store")
    if request.param == "directory":
        return Directory(top)
    b = request.getfixturevalue("new_bucket")(
        fixtures.store_objects(top, "store"))
    return Bucket(b, tmp)


def forget(side, *paths, check=True, extra=()):
    opts = ["-o", ",".join(side.options)] if side.options else []
    return run("forget", side.store, *paths, *extra, *opts, check=check)


def gone(before, after):
    """Keys that are no more; all others are as they were."""
    assert not after.keys() - before.keys()
    assert all(before[k] == v for k, v in after.items())
    return before.keys() - after.keys()


def below(objects, path):
    keys = {k for k in objects if k.startswith(f"store/.cnt/{path}/")}
    assert keys
    return keys


def test_prefixes(side):
    """A snapshot, a group, a namespace: each alone."""
    first = side.objects()
    for path in (f"vm/10/{T1}", "vm/10", "ns/a/ns/c", "ns/a", "ns/abc"):
        before = side.objects()
        extra = [] if path.endswith("Z") else ["--recursive"]
        forget(side, path, extra=extra)
        assert gone(before, side.objects()) == below(before, path), path
    after = side.objects()
    for path in ("vm/100", "vm/1000", "ns/ab/vm/10"):
        assert below(first, path) == below(after, path)
    shown = run("ls", "-R", side.store, *(
        ["-o", ",".join(side.options)] if side.options else [])).stdout
    assert "ns/abc" not in shown and "vm/1000" in shown
    p = forget(side, "ns/a", extra=["--recursive"], check=False)
    assert p.returncode == 1 and "no such namespace" in p.stderr
    p = forget(side, "vm/10", extra=["--recursive"], check=False)
    assert p.returncode == 1 and "no such group" in p.stderr


def test_protected(side):
    """The others go; it, its group and its namespaces stay."""
    side.put(f"ns/a/ns/c/vm/10/{T2}/.protected", b"")
    before = side.objects()
    p = forget(side, "ns/a", "vm/10", extra=["--recursive", "--json"],
               check=False)
    assert p.returncode == 5 and "protected" in p.stderr
    assert "ns/a/ns/c/vm/10" in p.stderr
    done = json.loads(p.stdout)["forgotten"]
    assert "vm/10" in done and "ns/a/ns/cd" in done
    assert "ns/a" not in done and "ns/a/ns/c" not in done
    stay = {k for k in below(before, "ns/a") if
            k.startswith((f"store/.cnt/ns/a/ns/c/vm/10/{T2}/",
                          "store/.cnt/ns/a/ns/c/vm/10/owner",
                          "store/.cnt/ns/a/ns/c/vm/10/notes"))
            or k in ("store/.cnt/ns/a/.namespace",
                     "store/.cnt/ns/a/ns/c/.namespace")}
    assert gone(before, side.objects()) == \
        below(before, "ns/a") - stay | below(before, "vm/10")


def test_recursive_is_asked_for(side):
    before = side.objects()
    for path in ("vm/10", "ns/a"):
        p = forget(side, path, check=False)
        assert p.returncode == 2 and "--recursive" in p.stderr
    assert side.objects() == before


def test_protect_many(side):
    opts = ["-o", ",".join(side.options)] if side.options else []
    before = side.objects()
    run("protect", side.store, "on", "ns/a", "vm/10", "-R", *opts)
    marks = {f"store/.cnt/{p}/{t}/.protected" for t in (T1, T2) for p in
             ("vm/10", "ns/a/vm/10", "ns/a/ns/c/vm/10", "ns/a/ns/cd/host/h")}
    assert side.objects() == {**before, **dict.fromkeys(marks, md5(b""))}
    p = forget(side, "ns/a", "vm/10", extra=["-R"], check=False)
    assert p.returncode == 5
    assert before.keys() - side.objects().keys() == \
        {"store/.cnt/ns/a/ns/empty/.namespace"}
    run("protect", side.store, "off", "ns/a", f"vm/10/{T1}", f"vm/10/{T2}",
        "-R", *opts)
    assert gone(before, side.objects()) == \
        {"store/.cnt/ns/a/ns/empty/.namespace"}


def killed(side, script, rule, *args):
    """Whether the command died of it."""
    with open(script, "w") as f:
        f.write(rule + "\n")
    opts = ",".join([*side.options, f"fault={script}"])
    p = subprocess.run([PBS3FS, *args, "-o", opts], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=120)
    assert p.returncode in (0, -signal.SIGKILL), p.stderr
    return p.returncode != 0


def sound(objects):
    """No snapshot lacks a file, none is without a group."""
    for key in objects:
        if key.endswith("/index.json.blob"):
            assert key.replace("index.json", "a.conf") in objects, key
        group, _, when = key.rpartition("/")[0].rpartition("/")
        if when.startswith("2024-"):
            assert f"{group}/owner" in objects, key


def kill_everywhere(make, script, path, modes):
    """Before and after each request; then again, until it is done."""
    n = 0
    for mode in modes:
        after = 0
        while True:
            side = make()
            before = side.objects()
            if not killed(side, script, f"* * {mode} after={after}",
                          "forget", side.store, path, "--recursive"):
                break
            left = side.objects()
            assert gone(before, left) <= below(before, path)
            sound(left)
            if any(k.startswith(f"store/.cnt/{path}/") for k in left):
                forget(side, path, extra=["--recursive"])
            assert gone(before, side.objects()) == below(before, path)
            after += 1
            n += 1
    return n


def test_killed(tmp):
    fill(f"{tmp}/first")

    def make():
        shutil.rmtree(f"{tmp}/store", ignore_errors=True)
        shutil.copytree(f"{tmp}/first", f"{tmp}/store")
        return Directory(f"{tmp}/store")
    assert kill_everywhere(make, f"{tmp}/fault", "ns/a",
                           ("kill", "kill-after")) > 30
    assert kill_everywhere(make, f"{tmp}/fault", "vm/10", ("kill",)) > 6


def test_killed_in_bucket(tmp, new_bucket):
    objects = list(fixtures.store_objects(fill(f"{tmp}/first"), "store"))
    side = Bucket(new_bucket(objects), tmp)

    def make():
        now = side.objects()
        for key, data in objects:
            if key not in now:
                if isinstance(data, str):
                    with open(data, "rb") as f:
                        data = f.read()
                side.b.gateway.client().put_object(
                    Bucket=side.b.name, Key=key, Body=data)
        return side
    assert kill_everywhere(make, f"{tmp}/fault", "vm/10",
                           ("kill-after",)) > 6
