# SPDX-License-Identifier: GPL-3.0-or-later
"""The store changes below a mount."""
import concurrent.futures
import json
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


# What differs, by name.

def mutate(side):
    """Another client adds, removes, changes."""
    s = fill(side.top, T3)
    fill(side.top, T1, kind="host", ident="new")
    s.snapshot("ct", "9", T1, ns="a/b").finish()
    shutil.rmtree(os.path.join(side.top, "vm/1", T2))
    shutil.rmtree(os.path.join(side.top, "vm/2"))
    with open(os.path.join(side.top, f"vm/1/{T1}/.protected"), "wb"):
        pass
    with open(os.path.join(side.top, "vm/3/notes"), "wb") as f:
        f.write(b"other\n")
    side.sync()


DIFFERENCES = {
    ("added", "namespace", "ns/a"), ("added", "namespace", "ns/a/ns/b"),
    ("added", "group", "ns/a/ns/b/ct/9"),
    ("added", "snapshot", f"ns/a/ns/b/ct/9/{T1}"),
    ("added", "group", "host/new"), ("added", "snapshot", f"host/new/{T1}"),
    ("added", "snapshot", f"vm/1/{T3}"),
    ("removed", "snapshot", f"vm/1/{T2}"),
    ("changed", "snapshot", f"vm/1/{T1}"),
    ("removed", "group", "vm/2"), ("removed", "snapshot", f"vm/2/{T1}"),
    ("changed", "group", "vm/3"),
}


def found(text):
    said = json.loads(text)
    assert said["changes_left_out"] == 0
    return said, {(c["what"], c["kind"], c["path"]) for c in said["changes"]}


def prepare(side):
    fill(side.top, T2)
    fill(side.top, T1, ident="2")
    fill(side.top, T1, ident="3")
    side.sync()


def test_names_of_a_mount(side, mounted):
    prepare(side)
    m = mounted()
    mutate(side)
    said, names = found(run("refresh", m.path, "--json").stdout)
    # In a directory the owner was written anew.
    assert names - {("changed", "group", "vm/1")} == DIFFERENCES
    assert (said["snapshots_added"], said["snapshots_removed"]) == (3, 2)
    assert sorted(os.listdir(m / "vm")) == ["1", "3"]
    assert os.listdir(m / "ns/a/ns/b/ct") == ["9"]
    said, names = found(run("refresh", m.path, "--json").stdout)
    assert names == set()


def test_names_of_a_store(new_bucket, tmp):
    """Against what was listed last; the first time all of it is new."""
    top = os.path.join(tmp, "store")
    fill(top, T1)
    side = Side(top, new_bucket([]))
    prepare(side)
    opts = ["-o", ",".join([f"cache={tmp}/c", *side.options])]
    said, names = found(run("refresh", side.store, "--json", *opts).stdout)
    assert said["snapshots_added"] == 4 and len(names) == 7
    mutate(side)
    text = run("refresh", side.store, *opts).stdout.splitlines()
    assert text.pop() == "3 snapshots added, 2 removed, 1 objects changed"
    assert {tuple(line.split(" ")) for line in text} == DIFFERENCES
    text = run("refresh", side.store, *opts).stdout.splitlines()
    assert text == ["0 snapshots added, 0 removed, 0 objects changed"]


def test_a_list_is_bounded(tmp, new_bucket):
    top = os.path.join(tmp, "store")
    s = fill(top, T1)
    b = new_bucket(fixtures.store_objects(top, "store"))
    opts = ["-o", ",".join([f"cache={tmp}/c", *b.options()])]
    run("refresh", b.store, *opts)
    keys = [f"store/.cnt/host/g{i}/owner" for i in range(600)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: b.gateway.client().put_object(
            Bucket=b.name, Key=k, Body=b"root@pam\n"), keys))
    said = json.loads(run("refresh", b.store, "--json", *opts).stdout)
    assert len(said["changes"]) == 500 and said["changes_left_out"] == 100
    assert s.chunks


# Open snapshots.

@pytest.fixture
def written(side, mounted):
    """A mount for writing, something changed in current."""
    m = mounted(mode="rw")
    with open(m / "vm/1/current/new.conf", "w") as f:
        f.write("not sent")
    return m


def kept(m):
    top = m / "vm/1/current"
    with open(f"{top}/new.conf") as f:
        assert f.read() == "not sent"
    with open(f"{top}/a.conf") as f:
        assert f.read() == T1
    with open(f"{top}/d.img", "rb") as f:
        assert len(f.read()) == 100000


def test_a_newer_one_and_an_open_one(side, written):
    fill(side.top, T2)
    side.sync()
    _, names = found(run("refresh", written.path, "--json").stdout)
    assert ("added", "snapshot", f"vm/1/{T2}") in names
    kept(written)
    os.mkdir(written / f"vm/1/{T3}")
    with open(written / f"vm/1/{T3}/a.conf") as f:
        assert f.read() == T1


def test_the_base_of_an_open_one_goes(side, written):
    kept(written)
    shutil.rmtree(os.path.join(side.top, "vm/1", T1))
    side.sync()
    _, names = found(run("refresh", written.path, "--json").stdout)
    assert ("removed", "snapshot", f"vm/1/{T1}") in names
    kept(written)
    os.mkdir(written / f"vm/1/{T3}")
    with open(written / f"vm/1/{T3}/new.conf") as f:
        assert f.read() == "not sent"
    with open(written / f"vm/1/{T3}/a.conf") as f:
        assert f.read() == T1


def test_the_group_of_an_open_one_goes(side, written):
    """What was not sent is not lost: there is a group for it again."""
    kept(written)
    shutil.rmtree(os.path.join(side.top, "vm/1"))
    side.sync()
    run("refresh", written.path)
    assert "made again" in written.log()
    kept(written)
    os.mkdir(written / f"vm/1/{T3}")
    with open(written / f"vm/1/{T3}/new.conf") as f:
        assert f.read() == "not sent"


def test_an_open_one_without_changes_follows(side, mounted):
    fill(side.top, T2)
    side.sync()
    m = mounted(mode="rw")
    with open(m / "vm/1/current/a.conf") as f:
        assert f.read() == T2
    shutil.rmtree(os.path.join(side.top, "vm/1", T2))
    side.sync()
    run("refresh", m.path)
    with open(m / "vm/1/current/a.conf") as f:
        assert f.read() == T1
