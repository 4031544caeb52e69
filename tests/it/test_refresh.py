# SPDX-License-Identifier: GPL-3.0-or-later
"""The store changes below a mount."""
import os
import shutil
import signal
import subprocess

import pytest

from pbs3fs_test import fixtures, pbsgen
from pbs3fs_test.mount import run, wait_for

T1, T2, T3 = (f"2024-01-0{n}T00:00:00Z" for n in (1, 2, 3))


def fill(top, *times, kind="vm", ident="1"):
    """A datastore in a directory with a snapshot at each time."""
    s = pbsgen.Store(top)
    for i, when in enumerate(times):
        snap = s.snapshot(kind, ident, when)
        snap.fixed("d.img.fidx", [pbsgen.noise(100000, hash(when) & 0xffff)])
        snap.blob("a.conf.blob", when.encode())
        snap.finish()
    return s


class Side:
    """A datastore that the test changes: a directory, or a bucket that is
    made equal to it."""
    def __init__(self, top, bucket=None):
        self.top, self.bucket = top, bucket
        self.store = bucket.store if bucket else top
        self.options = bucket.options() if bucket else []
        self.there = set()
        self.sync()

    def sync(self):
        if not self.bucket:
            return
        c = self.bucket.gateway.client()
        now = dict(fixtures.store_objects(self.top, "store"))
        for key in self.there - now.keys():
            c.delete_object(Bucket=self.bucket.name, Key=key)
        for key in now.keys() - self.there:
            body = now[key]
            if isinstance(body, str):
                with open(body, "rb") as f:
                    body = f.read()
            c.put_object(Bucket=self.bucket.name, Key=key, Body=body)
        self.there = set(now)

    def rewrite(self, key, data):
        """Changes the content of a metadata object."""
        path = os.path.join(self.top, key)
        with open(path, "wb") as f:
            f.write(data)
        if self.bucket:
            self.bucket.gateway.client().put_object(
                Bucket=self.bucket.name, Key=f"store/.cnt/{key}", Body=data)


@pytest.fixture(params=["directory", "s3"])
def side(request, tmp):
    top = os.path.join(tmp, "store")
    fill(top, T1)
    if request.param == "directory":
        return Side(top)
    return Side(top, request.getfixturevalue("new_bucket")([]))


@pytest.fixture
def mounted(side, mounts, tmp):
    def go(*opts, **kw):
        return mounts(side.store, f"cache={tmp}/c", f"state={tmp}/s",
                      *side.options, *opts, **kw)
    return go


def hup(m):
    m.proc.send_signal(signal.SIGHUP)


def test_new_snapshot(side, mounted):
    """A snapshot appears, `latest` moves, the kernel is told."""
    m = mounted()
    group = m / "vm/1"
    assert sorted(os.listdir(group)) == [T1, "latest", "owner"]
    assert os.readlink(group + "/latest") == T1
    with pytest.raises(FileNotFoundError):
        os.stat(f"{group}/{T2}")
    fill(side.top, T2)
    side.sync()
    assert not os.path.exists(f"{group}/{T2}")
    hup(m)
    wait_for(lambda: os.path.exists(f"{group}/{T2}"), 10, T2)
    assert sorted(os.listdir(group)) == [T1, T2, "latest", "owner"]
    assert os.readlink(group + "/latest") == T2
    with open(group + "/latest/a.conf") as f:
        assert f.read() == T2


def test_snapshot_goes(side, mounted):
    fill(side.top, T2, T3)
    side.sync()
    m = mounted()
    group = m / "vm/1"
    with open(f"{group}/{T3}/a.conf") as f:
        assert f.read() == T3
    held = open(f"{group}/{T3}/d.img", "rb")
    shutil.rmtree(os.path.join(side.top, "vm/1", T3))
    side.sync()
    hup(m)
    wait_for(lambda: not os.path.exists(f"{group}/{T3}"), 10, "it to go")
    assert sorted(os.listdir(group)) == [T1, T2, "latest", "owner"]
    assert os.readlink(group + "/latest") == T2
    # Who has it open reads on.
    assert len(held.read()) == 100000
    held.close()


def test_new_group_and_namespace(side, mounted):
    m = mounted()
    assert "host" not in os.listdir(m.path) or os.listdir(m / "host") == []
    fill(side.top, T1, kind="host", ident="h")
    s = pbsgen.Store(side.top)
    s.snapshot("ct", "9", T1, ns="a/b").finish()
    side.sync()
    hup(m)
    wait_for(lambda: os.path.isdir(m / "host/h"), 10, "the group")
    assert os.listdir(m / "ns/a/ns/b/ct") == ["9"]


def test_changed_notes(side, mounted):
    """Notes change in place: the new text, not the old, and its size."""
    m = mounted()
    side.rewrite("vm/1/notes", b"first\n")
    hup(m)
    wait_for(lambda: os.path.exists(m / "vm/1/notes"), 10, "the notes")
    with open(m / "vm/1/notes") as f:
        assert f.read() == "first\n"
    side.rewrite("vm/1/notes", b"second, and longer\n")
    hup(m)

    def second():
        with open(m / "vm/1/notes") as f:
            return f.read() == "second, and longer\n"
    wait_for(second, 10, "the new notes")


def test_refresh_interval(side, mounted):
    m = mounted("refresh=1")
    fill(side.top, T2)
    side.sync()
    wait_for(lambda: os.path.exists(m / f"vm/1/{T2}"), 10, T2)


def test_refresh_command(side, mounted, tmp):
    """The command tells the daemon, and says what changed."""
    m = mounted()
    fill(side.top, T2)
    side.sync()
    opts = ",".join([f"cache={tmp}/c", f"state={tmp}/s", *side.options])
    p = run("refresh", side.store, "-o", opts)
    assert "cost:" in p.stderr
    p = run("refresh", side.store, "--json", "-o", opts)


def test_refresh_costs_lists(new_bucket, mounts, tmp):
    top = os.path.join(tmp, "store")
    fill(top, T1, T2)
    side = Side(top, new_bucket([]))
    m = mounts(side.store, f"cache={tmp}/c", f"state={tmp}/s", *side.options)
    subprocess.run(["find", m / "vm", "-ls"], stdout=subprocess.PIPE,
                   check=True)
    fill(top, T3)
    side.sync()
    mark = side.bucket.gateway.mark()
    hup(m)
    wait_for(lambda: os.path.exists(m / f"vm/1/{T3}"), 10, T3)
    assert side.bucket.gateway.counts(mark) == {"LIST": 1}
    # What was fetched is still good: nothing of it is fetched again.
    mark = side.bucket.gateway.mark()
    for when in (T1, T2):
        subprocess.run(["ls", "-l", m / "vm/1/" + when], check=True,
                       stdout=subprocess.PIPE)
    assert side.bucket.gateway.counts(mark) == {}


def test_kernel_keeps_pages(side, mounted):
    """A snapshot never changes, so a refresh costs no page cache."""
    m = mounted()
    path = m / f"vm/1/{T1}/d.img"
    with open(path, "rb") as f:
        f.read()
    before = m.status()["fuse"]["reads"]
    hup(m)
    wait_for(lambda: m.status()["refreshes"] > 0, 10, "a refresh")
    with open(path, "rb") as f:
        assert len(f.read()) == 100000
    assert m.status()["fuse"]["reads"] == before
