# SPDX-License-Identifier: GPL-3.0-or-later
"""Garbage collection: what goes and what stays, what it asks of a bucket, and
beside a mount that writes."""
import hashlib
import json
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from pbs3fs_test import fixtures, fmtcheck, fmtrules, writing
from pbs3fs_test.mount import run
from pbs3fs_test.paths import PBS3FS

ZERO = hashlib.sha256(bytes(4 << 20)).hexdigest()


def gc(store, *opts, check=True, cutoff="0"):
    p = run("gc", store, "--json", "--cutoff", cutoff, *opts, check=check)
    return json.loads(p.stdout)


def garbage(store):
    """Chunks that no snapshot has; asserts that none is missing or bad."""
    c = fmtcheck.Checker(store, ())
    c.snapshots(False)
    assert not c.problems, "\n".join(map(str, c.problems[:20]))
    used = {digest for digest, *_ in c.chunks}
    return {f[-64:] for f in store.files
            if fmtrules.CHUNK.fullmatch(f)} - used


def exported(store, path, opts):
    p = subprocess.run([PBS3FS, "export", *opts, store, path], check=True,
                       stdout=subprocess.PIPE)
    return hashlib.sha256(p.stdout).hexdigest()


def forget_half(store, opts, files):
    """Every other snapshot; some of those that stay, with an archive of
    each."""
    kept = {}
    paths = [os.path.dirname(f) for f in files
             if f.endswith("/index.json.blob")]
    # Those that are protected stay.
    run("forget", store, *paths[::2], *opts, check=False)
    for path in paths[1::2]:
        for name, index in (("root", "root.pxar.didx"),
                            ("root", "root.mpxar.didx"),
                            ("drive-scsi0.img", "drive-scsi0.img.fidx")):
            if len(kept) < 3 and f"{path}/{index}" in files:
                kept[f"{path}/{name}"] = exported(store, f"{path}/{name}",
                                                  opts)
    assert len(kept) == 3
    return kept


def forget_one(store, opts, kept):
    """The first that is not protected; not kept any more."""
    for path in list(kept):
        snap = path.rsplit("/", 1)[0]
        del kept[path]
        if run("forget", store, snap, *opts, check=False).returncode == 0:
            return
    raise AssertionError("all are protected")


def test_bucket(new_bucket, fx, tmp):
    b = new_bucket(fixtures.store_objects(fx["plain"], "store"))
    opts = ["-o", ",".join([*b.options(), f"cache={tmp}/c",
                            f"state={tmp}/s"])]
    def live():
        return fmtcheck.Bucket.live(b.gateway.client(), b.name, "store")

    kept = forget_half(b.store, opts, live().files)

    dead = garbage(live()) - {ZERO}
    assert len(dead) > 20
    # What would go, and nothing is asked to change.
    mark = b.gateway.mark()
    j = gc(b.store, "--dry-run", *opts)
    assert j["removed"] == len(dead) and j["estimate"]["requests"][
        "delete"] == 1
    assert {r["key"][-64:] for r in j["would_remove"]} == dead
    assert set(b.gateway.counts(mark)) <= {"GET", "LIST"}
    # Exactly what it has to ask; indices were read by the dry run.
    mark = b.gateway.mark()
    j = gc(b.store, *opts)
    n = b.gateway.counts(mark)
    assert n["LIST"] == 2 and n["POST"] == 1, n
    assert set(n) == {"LIST", "POST", "GET"} and n["GET"] <= 4, n
    assert j["removed"] == len(dead) and j["missing"] == 0
    assert j["indices"] == j["indices_reused"]
    assert j["cost"]["requests"]["list"] == 2
    assert j["cost"]["requests"]["delete"] == 1
    assert garbage(live()) <= {ZERO}
    for path, digest in kept.items():
        assert exported(b.store, path, opts) == digest
    # Nothing is left to do.
    mark = b.gateway.mark()
    j = gc(b.store, *opts)
    assert j["removed"] == j["pending"] == 0
    assert "POST" not in b.gateway.counts(mark)
    # One at a time, where many at once are refused.
    forget_one(b.store, opts, kept)
    mark = b.gateway.mark()
    j = gc(b.store, "-o", "no-multi-delete", *opts)
    assert j["removed"] > 0
    assert b.gateway.counts(mark).get("DELETE", 0) == j["removed"]
    assert garbage(live()) <= {ZERO}


def test_directory(fx, tmp):
    store = fx.copy("plain", f"{tmp}/store")
    with open(f"{store}/.gc-status") as f:
        before = json.load(f)
    opts = ["-o", f"state={tmp}/s"]
    # The same figures as the server that wrote it.
    assert gc(store, *opts)["removed"] == 0
    with open(f"{store}/.gc-status") as f:
        after = json.load(f)
    assert after.pop("upid") != before.pop("upid")
    assert after == before
    kept = forget_half(store, opts, fmtcheck.Directory(store).files)
    dead = garbage(fmtcheck.Directory(store)) - {ZERO}
    # All of it was touched a moment ago.
    j = gc(store, *opts, cutoff="24h5m")
    assert j["removed"] == 0 and j["pending"] == len(dead)
    j = gc(store, *opts)
    assert j["removed"] == len(dead) and j["missing"] == 0
    assert garbage(fmtcheck.Directory(store)) <= {ZERO}
    for path, digest in kept.items():
        assert exported(store, path, opts) == digest
    # Damaged and missing: said, and what would be unsafe is not done.
    forget_one(store, opts, kept)
    snap = os.path.join(store, next(iter(kept)).rsplit("/", 1)[0])
    index = sorted(n for n in os.listdir(snap) if n.endswith("idx"))[0]
    with open(f"{snap}/{index}", "rb") as f:
        whole = f.read()
    with open(f"{snap}/{index}", "r+b") as f:
        f.truncate(4000)
    present = fmtcheck.Directory(store).files
    p = run("gc", store, "--cutoff", "0", *opts, check=False)
    assert p.returncode == 3 and index in p.stderr, p
    assert p.stdout == "", "figures of half a store"
    assert fmtcheck.Directory(store).files == present
    p = run("gc", store, "--cutoff", "0", "--json", *opts, check=False)
    assert json.loads(p.stdout)["complete"] is False
    with open(f"{snap}/{index}", "wb") as f:
        f.write(whole)
    p = run("gc", store, "--cutoff", "0", *opts)
    assert "Removed chunks: " in p.stdout and "cost: " in p.stderr
    p = run("gc", store, "--quiet", *opts)
    assert p.stdout + p.stderr == ""
    rest = fmtcheck.Directory(store)
    assert garbage(rest) <= {ZERO}
    lost = next(f for f in rest.files if fmtrules.CHUNK.fullmatch(f) and
                f[-64:] != ZERO)
    os.unlink(f"{store}/{lost}")
    p = run("gc", store, *opts, check=False)
    assert p.returncode == 3 and lost[-64:] in p.stderr


def test_server_beside(fx, tmp):
    """A server that writes, or collects, has the directory's lock."""
    store = fx.copy("plain", f"{tmp}/store")
    opts = ["-o", f"state={tmp}/s"]
    p = subprocess.Popen(
        ["python3", "-c", "import fcntl,sys,time\n"
         f"f=open({store + '/.lock'!r},'r+')\n"
         "fcntl.lockf(f, fcntl.LOCK_SH)\n"
         "print(flush=True)\ntime.sleep(100)"], stdout=subprocess.PIPE)
    try:
        p.stdout.readline()
        r = run("gc", store, *opts, check=False)
        assert r.returncode == 1 and "try again" in r.stderr, r
    finally:
        p.kill()
        p.wait()
    assert gc(store, *opts)["missing"] == 0


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGKILL])
def test_stopped(fx, tmp, sig):
    """At any moment; the next run makes up for it."""
    store = fx.copy("plain", f"{tmp}/store")
    opts = ["-o", f"state={tmp}/s"]
    kept = forget_half(store, opts, fmtcheck.Directory(store).files)
    fault = f"{tmp}/fault"
    with open(fault, "w") as f:
        f.write("list .chunks/ delay=3000\n" if sig == signal.SIGINT
                else "delete * delay=3000\n")
    p = subprocess.Popen([PBS3FS, "gc", store, "--cutoff", "0", *opts, "-o",
                          f"fault={fault}"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE)
    time.sleep(1)
    p.send_signal(sig)
    err = p.communicate(timeout=30)[1].decode()
    assert p.returncode != 0
    if sig == signal.SIGINT:
        assert "interrupted" in err
    gc(store, *opts)
    assert garbage(fmtcheck.Directory(store)) <= {ZERO}
    for path, digest in kept.items():
        assert exported(store, path, opts) == digest


class Writer(threading.Thread):
    """Rewrites the same few contents, so that what is garbage now is needed
    again in a moment."""
    def __init__(self, m):
        super().__init__()
        self.m = m
        self.stop = False
        self.error = None
        self.published = []

    def run(self):
        dice = random.Random(7)
        try:
            top = writing.begin(self.m)
            os.makedirs(f"{top}/data", exist_ok=True)
            while not self.stop:
                for i in range(4):
                    block = random.Random(dice.randrange(6)).randbytes(
                        200000)
                    with open(f"{top}/data/f{i}", "wb") as f:
                        f.write(block)
                with open(f"{top}/disk.img", "wb") as f:
                    f.write(random.Random(dice.randrange(6)).randbytes(
                        1 << 20))
                self.published.append(writing.publish(self.m))
                if len(self.published) > 2:
                    os.rmdir(self.m / self.published.pop(0))
        except Exception as e:  # noqa: BLE001: told by the test
            self.error = e


def test_beside_a_mount(tmp):
    store = writing.bare(f"{tmp}/store")
    site = writing.Site(store, tmp)
    m = site.mount()
    w = Writer(m)
    w.start()
    removed = 0
    end = time.time() + 5
    while time.time() < end and w.is_alive():
        j = gc(store, "-o", f"state={site.local}/state")
        removed += j["removed"]
        assert j["missing"] == 0
    w.stop = True
    w.join()
    assert w.error is None, w.error
    assert removed > 10
    want = writing.contents(m / w.published[-1])
    m.stop()
    gc(store, "-o", f"state={site.local}/state")
    fmtcheck.clean(fmtcheck.Directory(store), all_chunk_dirs=False,
                   modes=False)
    assert not garbage(fmtcheck.Directory(store))
    m = site.mount(mode="ro")
    writing.same(want, writing.contents(m / w.published[-1]))
    m.stop()
    site.stop()


def test_state_of_the_mount(tmp):
    """What only journals refer to is kept, though the command would look for
    them elsewhere."""
    store = writing.bare(f"{tmp}/store")
    site = writing.Site(store, tmp, ["fsync=s3"])
    m = site.mount()
    data = random.Random(3).randbytes(3 << 20)
    fd = os.open(f"{writing.begin(m)}/disk.img", os.O_CREAT | os.O_WRONLY)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    there = garbage(fmtcheck.Directory(store))
    assert there
    j = gc(store, "-o", f"state={tmp}/elsewhere")
    assert j["removed"] == 0
    assert garbage(fmtcheck.Directory(store)) == there
    path = writing.publish(m)
    with open(f"{m / path}/disk.img", "rb") as f:
        assert f.read() == data
    m.stop()
    site.stop()
