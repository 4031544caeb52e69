# SPDX-License-Identifier: GPL-3.0-or-later
"""create, forget, protect and snapshot: what they leave in the store, key by
key, and what they ask of it."""
import fcntl
import json
import os
import shutil
import socket
import subprocess

import pytest

from pbs3fs_test import fixtures
from pbs3fs_test.mount import run

HOST = socket.gethostname().split(".")[0]
MARKER = json.dumps({"hostname": HOST}, separators=(",", ":")).encode()
T = "2024-01-01T00:00:00Z"


def objects(b):
    """Everything in the bucket, with its content, but for where the state of
    the host that writes is."""
    c = b.gateway.client()
    out = {}
    for page in c.get_paginator("list_objects_v2").paginate(Bucket=b.name):
        for o in page.get("Contents", []):
            if o["Key"].endswith("/.pbs3fs/state"):
                continue
            body = c.get_object(Bucket=b.name, Key=o["Key"])["Body"].read()
            out[o["Key"]] = body
    return out


def put(b, key, body):
    b.gateway.client().put_object(Bucket=b.name, Key=key, Body=body)


@pytest.fixture
def opts(tmp):
    """-o for a bucket; the same cache for all commands of a test."""
    def get(b):
        return ["-o", ",".join([*b.options(), f"cache={tmp}/cache",
                                f"state={tmp}/state"])]
    return get


@pytest.fixture
def groups(new_bucket, fx):
    """A bucket of a test's own whose names begin alike: a real snapshot
    in vm/100, the same in vm/10, vm/1000 and two namespaces."""
    real = dict(fixtures.store_objects(os.path.join(fx["damaged"], "ok"),
                                       "store"))
    chunks = {k: v for k, v in real.items() if "/.chunks/" in k}
    vm = {k.split("/vm/100/", 1)[1]: v for k, v in real.items()
          if "/.cnt/vm/100/" in k}
    made = dict(chunks)
    for where in ("vm/10", "vm/100", "vm/1000", "ns/a/vm/10", "ns/ab/vm/10"):
        for name, body in vm.items():
            made[f"store/.cnt/{where}/{name}"] = body
        made[f"store/.cnt/{where}/owner"] = b"root@pam\n"
    return new_bucket(made.items())


def cost(p):
    return {k: v for k, v in json.loads(p.stdout)["cost"]["requests"].items()
            if v}


def test_create_bucket(new_bucket, opts):
    b = new_bucket([])
    mark = b.gateway.mark()
    p = run("create", b.store, "--json", *opts(b))
    assert b.gateway.counts(mark) == {"GET": 1, "LIST": 1, "PUT": 1}
    assert cost(p) == {"get": 1, "list": 1, "put": 1}
    assert objects(b) == {"store/.in-use": MARKER}
    # It is a datastore, and there is one.
    run("ls", b.store, *opts(b))
    p = run("create", b.store, *opts(b), check=False)
    assert p.returncode == 1 and "already" in p.stderr
    # One of another name has nothing to do with it.
    run("create", f"s3://{b.name}/store2", *opts(b))
    assert objects(b) == {"store/.in-use": MARKER,
                          "store2/.in-use": MARKER}


def test_create_refuses(new_bucket, opts):
    b = new_bucket([("store/.cnt/host/x/owner", b"root@pam\n")])
    p = run("create", b.store, *opts(b), check=False)
    assert p.returncode == 1 and "host/x/owner" in p.stderr
    assert list(objects(b)) == ["store/.cnt/host/x/owner"]
    b = new_bucket([("store/.in-use", b'{"hostname":"elsewhere"}')])
    p = run("create", b.store, *opts(b), check=False)
    assert p.returncode == 1 and "elsewhere" in p.stderr
    assert objects(b) == {"store/.in-use": b'{"hostname":"elsewhere"}'}
    run("create", b.store, "--takeover", *opts(b))
    assert objects(b) == {"store/.in-use": MARKER}
    # No bucket is made.
    p = run("create", f"s3://{b.name}-none/store", *opts(b), check=False)
    assert p.returncode != 0


def test_create_directory(tmp):
    store = f"{tmp}/store"
    old = os.umask(0o077)
    try:
        run("create", store, "-q")
    finally:
        os.umask(old)
    want = {store: 0o755, f"{store}/.chunks": 0o750, f"{store}/.lock": 0o644}
    names = sorted(os.listdir(f"{store}/.chunks"))
    assert names == [f"{i:04x}" for i in range(65536)]
    want.update({f"{store}/.chunks/{n}": 0o750 for n in names})
    for path, mode in want.items():
        st = os.lstat(path)
        assert st.st_mode & 0o7777 == mode, path
        assert (st.st_uid, st.st_gid) == (34, 34), path
    assert sorted(os.listdir(store)) == [".chunks", ".lock"]
    p = run("create", store, check=False)
    assert p.returncode == 1 and "already" in p.stderr
    p = run("create", f"{store}/in/it", check=False)
    assert p.returncode == 1
    p = run("ls", store)
    assert p.returncode == 0


def test_forget_bucket(groups, opts):
    b = groups
    run("ls", b.store, *opts(b))
    before = objects(b)
    put(b, "store/.in-use", MARKER)
    mark = b.gateway.mark()
    p = run("forget", b.store, f"vm/10/{T}", "--json", *opts(b))
    counts = b.gateway.counts(mark)
    # The marker, and the state, written the first time; the snapshot's
    # listing; manifest, and the rest.
    assert counts["GET"] == 2 and counts["LIST"] == 1
    assert counts.get("POST", 0) + counts.get("DELETE", 0) == 2
    assert counts.get("PUT", 0) == 1
    assert json.loads(p.stdout)["forgotten"] == [f"vm/10/{T}"]
    after = objects(b)
    assert after.pop("store/.in-use") == MARKER
    gone = {k for k in before if k.startswith(f"store/.cnt/vm/10/{T}/")}
    assert gone and before.keys() - after.keys() == gone
    assert all(after[k] == before[k] for k in after)
    # The kept listing knows.
    shown = run("ls", b.store, "vm/10", *opts(b)).stdout
    assert T not in shown
    p = run("forget", b.store, f"vm/10/{T}", *opts(b), check=False)
    assert p.returncode == 1 and "no such snapshot" in p.stderr
    assert "owner" in shown


def test_forget_in_namespace(groups, opts):
    b = groups
    before = objects(b)
    run("forget", b.store, f"ns/a/vm/10/{T}", *opts(b))
    after = objects(b)
    after.pop("store/.in-use")
    assert {k for k in before if k not in after} == {
        k for k in before if k.startswith(f"store/.cnt/ns/a/vm/10/{T}/")}


def test_protect(groups, opts):
    b = groups
    run("ls", b.store, *opts(b))
    put(b, "store/.in-use", MARKER)
    before = objects(b)
    key = f"store/.cnt/vm/10/{T}/.protected"
    mark = b.gateway.mark()
    run("protect", b.store, "on", f"vm/10/{T}", *opts(b))
    assert b.gateway.counts(mark) == {"GET": 2, "PUT": 2}
    assert objects(b) == {**before, key: b""}
    p = run("forget", b.store, f"vm/10/{T}", *opts(b), check=False)
    assert p.returncode == 5 and "protected" in p.stderr
    assert objects(b) == {**before, key: b""}
    mark = b.gateway.mark()
    run("protect", b.store, "off", f"vm/10/{T}", *opts(b))
    counts = b.gateway.counts(mark)
    assert counts.pop("POST", 0) + counts.pop("DELETE", 0) == 1
    assert counts == {"GET": 2}
    assert objects(b) == before


def test_protection_by_another(groups, opts):
    """Set in the bucket after the last listing."""
    b = groups
    run("ls", b.store, *opts(b))
    put(b, f"store/.cnt/vm/10/{T}/.protected", b"")
    before = objects(b)
    p = run("forget", b.store, f"vm/10/{T}", *opts(b), check=False)
    assert p.returncode == 5
    after = objects(b)
    after.pop("store/.in-use")
    assert after == before


def test_another_host(groups, opts):
    b = groups
    put(b, "store/.in-use", b'{"hostname":"elsewhere"}')
    before = objects(b)
    for args in (["forget", b.store, f"vm/10/{T}"],
                 ["protect", b.store, "on", f"vm/10/{T}"]):
        p = run(*args, *opts(b), check=False)
        assert p.returncode == 1
        assert "elsewhere" in p.stderr and "takeover" in p.stderr
    assert objects(b) == before
    run("forget", b.store, f"vm/10/{T}", "--takeover", *opts(b))
    assert objects(b)["store/.in-use"] == MARKER


def test_wrong_paths(groups, opts):
    b = groups
    before = objects(b)
    for path in ("vm/10", "vm/10/latest", "vm", f"../vm/10/{T}", "/", "",
                 "vm/10/2024-13-01T00:00:00Z", f"ns/a/b/vm/10/{T}", "ns/a"):
        p = run("forget", b.store, path, *opts(b), check=False)
        assert p.returncode == 2, path
        if path not in ("vm/10", "ns/a"):
            p = run("forget", b.store, path, "--recursive", *opts(b),
                    check=False)
            assert p.returncode == 2, path
    # All or none.
    p = run("forget", b.store, f"vm/10/{T}", "vm/10", *opts(b), check=False)
    assert p.returncode == 2
    assert objects(b) == before


def test_forget_directory(fx, tmp):
    store = fx.copy("damaged", f"{tmp}/d") + "/ok"
    group = f"{store}/vm/100"
    snap = f"{group}/{T}"
    if not os.path.exists(f"{group}/owner"):
        with open(f"{group}/owner", "w") as f:
            f.write("root@pam\n")
    open(f"{snap}/x.img.tmp_fidx", "w").close()
    chunks = subprocess.run(["find", f"{store}/.chunks", "-type", "f"],
                            check=True, capture_output=True).stdout
    # Somebody else writes.
    os.makedirs(f"{store}/.pbs3fs", exist_ok=True)
    with open(f"{store}/.pbs3fs/lock", "w") as f:
        f.write("4711\n")
        f.flush()
        fcntl.flock(f, fcntl.LOCK_EX)
        p = run("forget", store, f"vm/100/{T}", check=False)
        assert p.returncode == 1
        assert "4711" in p.stderr
        assert os.path.exists(f"{snap}/index.json.blob")
    p = run("protect", store, "on", f"vm/100/{T}")
    assert os.stat(f"{snap}/.protected").st_size == 0
    p = run("forget", store, f"vm/100/{T}", check=False)
    assert p.returncode == 5
    run("protect", store, "off", f"vm/100/{T}")
    assert not os.path.exists(f"{snap}/.protected")
    run("forget", store, f"vm/100/{T}")
    assert not os.path.exists(snap)
    assert os.path.exists(f"{group}/owner")
    assert chunks == subprocess.run(
        ["find", f"{store}/.chunks", "-type", "f"], check=True,
        capture_output=True).stdout


def test_server_on_this_host(fx, tmp):
    """Its lock of the group, which it holds while it backs up."""
    name = f"pbs3fs-test-{os.getpid()}"
    locks = f"/run/proxmox-backup/locks/{name}"
    store = fx.copy("damaged", f"{tmp}/d") + "/ok"
    snap = f"{store}/vm/100/{T}"
    os.mkdir(f"{tmp}/conf")
    with open(f"{tmp}/conf/datastore.cfg", "w") as f:
        f.write(f"datastore: {name}\n\tpath {store}\n")
    args = ["forget", name, f"vm/100/{T}", f"--pbs-config={tmp}/conf"]
    os.makedirs(locks)
    try:
        with open(f"{locks}/vm-100", "w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            p = run(*args, check=False)
            assert p.returncode == 1 and "backup server" in p.stderr
            assert os.path.exists(f"{snap}/index.json.blob")
        run(*args)
        assert not os.path.exists(snap)
    finally:
        shutil.rmtree(locks)


def test_snapshot_needs_a_writable_mount(fx, mounts, tmp):
    m = mounts(os.path.join(fx["damaged"], "ok"))
    p = run("snapshot", str(m / "vm/100"), check=False)
    assert p.returncode == 1 and "read-only" in p.stderr
    p = run("snapshot", str(m / "vm"), check=False)
    assert p.returncode == 2 and "not a group" in p.stderr
    p = run("snapshot", tmp, check=False)
    assert p.returncode == 2 and "not in a mount" in p.stderr
    p = run("snapshot", f"{tmp}/none", check=False)
    assert p.returncode == 1
    for t in ("now", "2024-13-01T00:00:00Z", "1970-01-01T00:00:00Z"):
        p = run("snapshot", str(m / "vm/100"), f"--time={t}", check=False)
        assert p.returncode == 2
