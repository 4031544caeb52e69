# SPDX-License-Identifier: GPL-3.0-or-later
"""What a writable mount does with the tree around open snapshots: groups,
namespaces, publishing, forgetting, protection, notes, and who else may mount."""
import errno
import os
import stat
import subprocess

import pytest

from pbs3fs_test import writing
from pbs3fs_test.mount import run, wait_for

GROUP = "host/web1"


@pytest.fixture(params=["directory", "bucket"])
def site(request, tmp):
    """A new, empty datastore."""
    options = []
    if request.param == "bucket":
        b = request.getfixturevalue("new_bucket")({}, "store")
        store, options = b.store, b.options()
        run("create", "-q", store, "-o", ",".join(options))
    else:
        store = os.path.join(tmp, "store")
        # Chunk directories are made when they are needed.
        os.makedirs(store + "/.chunks")
    s = writing.Site(store, tmp, options)
    yield s
    s.stop(check=False)


@pytest.fixture
def local(tmp):
    store = os.path.join(tmp, "store")
    os.makedirs(store + "/.chunks")
    s = writing.Site(store, tmp)
    yield s
    s.stop(check=False)


def fill(top, tag=b"one"):
    os.makedirs(top + "/etc/sub", exist_ok=True)
    with open(top + "/etc/hosts", "wb") as f:
        f.write(b"127.0.0.1 localhost " + tag + b"\n")
    with open(top + "/etc/sub/big", "wb") as f:
        f.write(os.urandom(300_000))
    if not os.path.lexists(top + "/etc/link"):
        os.symlink("hosts", top + "/etc/link")
    with open(top + "/disk.img", "wb") as f:
        f.truncate(9 << 20)
        f.seek(4 << 20)
        f.write(b"block" * 1000)
    with open(top + "/dump", "wb") as f:
        f.write(os.urandom(100_000))
    with open(top + "/job.conf", "w") as f:
        f.write("a: b\n")


def contents(top):
    """Without what only a finished snapshot has."""
    out = writing.contents(top)
    out.pop("index.json", None)
    return out


def refused(number, fn, *args):
    with pytest.raises(OSError) as e:
        fn(*args)
    assert e.value.errno == number, os.strerror(e.value.errno)


def test_round_trip(site):
    """Write, read back, publish, read the snapshot; then from afresh."""
    m = site.mount()
    assert sorted(os.listdir(m.path)) == [".pbs3fs", "ct", "host", "ns", "vm"]
    top = writing.begin(m)
    assert sorted(os.listdir(m / GROUP)) == ["current", "owner"]
    with open(m / GROUP + "/owner") as f:
        assert f.read().strip() == "root@pam"
    fill(top)
    want = contents(top)
    name = writing.stamp()
    os.mkdir(m / f"{GROUP}/{name}")
    assert os.readlink(m / f"{GROUP}/latest") == name
    assert sorted(os.listdir(m / GROUP)) == sorted(
        ["current", "owner", "latest", name])
    writing.same(want, contents(m / f"{GROUP}/{name}"))
    writing.same(want, contents(m / f"{GROUP}/latest/"))
    writing.same(want, contents(top))
    m.stop()
    site.forget_host()
    m = site.mount(mode="ro")
    assert "current" not in os.listdir(m / GROUP)
    writing.same(want, contents(m / f"{GROUP}/{name}"))
    assert m.errors() == ""
    m.stop()


def test_second_snapshot(site):
    """current/ goes on from what was published."""
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    first = writing.publish(m)
    one = contents(m / first)
    held = open(top + "/etc/hosts", "rb")
    ino = os.stat(top + "/etc/hosts").st_ino
    with open(top + "/etc/hosts", "ab") as f:
        f.write(b"more\n")
    os.rename(top + "/dump", top + "/moved")
    os.unlink(top + "/job.conf")
    want = contents(top)
    second = writing.publish(m)
    assert os.stat(top + "/etc/hosts").st_ino == ino
    assert held.read().endswith(b"more\n")
    held.close()
    writing.same(want, contents(m / second))
    writing.same(one, contents(m / first), "the first")
    m.stop()


def test_remount(site):
    """What is in no snapshot yet is there again."""
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    want = contents(top)
    m.stop()
    m = site.mount()
    assert "going on with changes" in m.log()
    writing.same(want, contents(m / GROUP + "/current"))
    m.stop()


def test_kill(site):
    """So it is after the daemon was killed."""
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    want = contents(top)
    m.kill()
    m = site.mount()
    writing.same(want, contents(m / GROUP + "/current"))
    path = writing.publish(m)
    writing.same(want, contents(m / path))
    m.stop()


def test_groups_and_namespaces(site):
    m = site.mount("owner=backup@pbs")
    os.mkdir(m / "ns/a")
    os.mkdir(m / "ns/a/ns/b")
    assert sorted(os.listdir(m / "ns/a/ns/b")) == ["ct", "host", "ns", "vm"]
    os.mkdir(m / "ns/a/ns/b/vm/100")
    with open(m / "ns/a/ns/b/vm/100/owner") as f:
        assert f.read().strip() == "backup@pbs"
    assert stat.S_IMODE(os.stat(m / "vm").st_mode) == 0o755
    refused(errno.ENOTEMPTY, os.rmdir, m / "ns/a")
    refused(errno.EEXIST, os.mkdir, m / "ns/a")
    refused(errno.EINVAL, os.mkdir, m / "ns/b ad")
    refused(errno.EINVAL, os.mkdir, m / "vm/.x")
    refused(errno.EPERM, os.mkdir, m / "other")
    refused(errno.EPERM, os.rmdir, m / "vm")
    os.rmdir(m / "ns/a/ns/b/vm/100")
    assert os.listdir(m / "ns/a/ns/b/vm") == []
    os.rmdir(m / "ns/a/ns/b")
    os.rmdir(m / "ns/a")
    assert os.listdir(m / "ns") == []
    m.stop()
    m = site.mount(mode="ro")
    assert os.listdir(m.path) == [".pbs3fs"]
    m.stop()


def test_group_in_use(local):
    """A group with changes, or that somebody has open, stays."""
    m = local.mount()
    top = writing.begin(m)
    with open(top + "/f", "w") as f:
        f.write("x")
    refused(errno.EBUSY, os.rmdir, m / GROUP)
    writing.publish(m)
    refused(errno.ENOTEMPTY, os.rmdir, m / GROUP)
    m.stop()


def test_publish_refused(local):
    m = local.mount()
    top = writing.begin(m)
    refused(errno.ENODATA, os.mkdir, m / f"{GROUP}/{writing.stamp()}")
    os.mkdir(top + "/d")
    for bad in ("new", "2026-01-01", "2026-01-01T00:00:00",
                "2026-13-01T00:00:00Z", "2026-01-01t00:00:00z"):
        refused(errno.EINVAL, os.mkdir, m / f"{GROUP}/{bad}")
    first = writing.stamp()
    os.mkdir(m / f"{GROUP}/{first}")
    refused(errno.EEXIST, os.mkdir, m / f"{GROUP}/{first}")
    os.mkdir(top + "/e")
    refused(errno.EINVAL, os.mkdir, m / f"{GROUP}/2000-01-01T00:00:00Z")
    # A name that the format cannot hold.
    with open(top + "/a name", "w") as f:
        f.write("x")
    refused(errno.EILSEQ, os.mkdir, m / f"{GROUP}/{writing.stamp()}")
    assert "a name" in m.log()
    os.rename(top + "/a name", top + "/a-name")
    writing.publish(m)
    m.stop()


def test_publish_messages(local):
    """What the mount said comes with its hints, as it was said, and once."""
    m = local.mount()
    current = writing.begin(m)
    for name in ("empty.img", "new\nline"):
        open(os.path.join(current, name), "w").close()
    for _ in range(3):
        p = run("snapshot", str(m / GROUP), check=False)
    assert p.returncode == 1
    said = [x for x in p.stderr.splitlines() if not x.startswith("cost: ")]
    hints = [x for x in said if "hint: " in x]
    assert len(hints) == 2 and len(said) == 5, p.stderr
    assert any(r"cannot publish new\x0aline:" in x for x in said), p.stderr
    # A time that is none is explained, too.
    refused(errno.EINVAL, os.mkdir, m / f"{GROUP}/2024-02-30T00:00:00Z")
    refused(errno.EINVAL, os.mkdir, m / "ns/.a")
    shown = run("status", m.path).stdout
    assert "as 2024-02-30T00:00:00Z: not a time\n    hint: as 20" in shown
    assert "namespace .a: not a name of one\n    hint: " in shown
    m.stop()


def test_bad_owner(local, tmp):
    p = run("mount", "-f", "-o", f"state={tmp}/s,owner=foo", local.store,
            tmp, check=False)
    assert p.returncode == 2
    assert "owner foo: not the name of a user" in p.stderr


def test_forget_and_protect(site):
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    first = writing.publish(m)
    fill(top, b"two")
    second = writing.publish(m)
    name = "user.pbs3fs.protected"
    assert os.getxattr(m / first, name) == b"0"
    os.setxattr(m / first, name, b"1")
    assert os.getxattr(m / first, name) == b"1"
    refused(errno.EPERM, os.rmdir, m / first)
    refused(errno.EINVAL, os.setxattr, m / first, name, b"yes")
    os.removexattr(m / first, name)
    assert os.getxattr(m / first, name) == b"0"
    os.rmdir(m / first)
    assert not os.path.exists(m / first)
    refused(errno.ENOENT, os.rmdir, m / first)
    assert os.readlink(m / f"{GROUP}/latest") == os.path.basename(second)
    os.rmdir(m / second)
    assert not os.path.lexists(m / f"{GROUP}/latest")
    assert sorted(os.listdir(m / GROUP)) == ["current", "owner"]
    m.stop()
    m = site.mount(mode="ro")
    assert os.listdir(m / GROUP) == ["owner"]
    m.stop()


def test_notes(site):
    m = site.mount()
    top = writing.begin(m)
    notes = m / GROUP + "/notes"
    assert not os.path.exists(notes)
    with open(notes, "w") as f:
        f.write("web server\n")
        f.flush()
        assert os.stat(notes).st_size == 11
    assert "notes" in os.listdir(m / GROUP)
    with open(notes, "a") as f:
        f.write("second line\n")
    with open(notes) as f:
        assert f.read() == "web server\nsecond line\n"
    os.truncate(notes, 3)
    with open(notes) as f:
        assert f.read() == "web"
    with open(notes, "r+b", buffering=0) as f:
        f.seek((1 << 20) - 1)
        refused(errno.EFBIG, f.write, b"xy")
    with open(notes, "w") as f:
        f.write("final")
    refused(errno.EPERM, os.rename, notes, notes + "2")
    refused(errno.EPERM, os.chmod, notes, 0o600)
    os.mkdir(top + "/d")
    snap = writing.publish(m)
    name = "user.pbs3fs.notes"
    refused(errno.ENODATA, os.getxattr, m / snap, name)
    os.setxattr(m / snap, name, "grün".encode())
    assert os.getxattr(m / snap, name) == "grün".encode()
    refused(errno.EEXIST, os.setxattr, m / snap, name, b"x", os.XATTR_CREATE)
    m.stop()
    m = site.mount()
    with open(m / GROUP + "/notes") as f:
        assert f.read() == "final"
    assert os.getxattr(m / snap, name) == "grün".encode()
    os.removexattr(m / snap, name)
    refused(errno.ENODATA, os.getxattr, m / snap, name)
    os.unlink(m / GROUP + "/notes")
    assert "notes" not in os.listdir(m / GROUP)
    m.stop()


def test_finished_is_read_only(local):
    m = local.mount()
    top = writing.begin(m)
    fill(top)
    snap = m / writing.publish(m)
    file = snap + "/etc/hosts"
    for fn, *args in ((open, file, "w"), (open, snap + "/new", "w"),
                      (os.unlink, file), (os.mkdir, snap + "/etc/d"),
                      (os.rmdir, snap + "/etc/sub"), (os.chmod, file, 0),
                      (os.rename, file, file + "2"), (os.truncate, file, 0),
                      (os.rename, file, top + "/hosts"),
                      (os.symlink, "x", snap + "/l"),
                      (os.setxattr, file, "user.x", b"1"),
                      (os.chmod, snap, 0o700)):
        refused(errno.EROFS, fn, *args)
    refused(errno.EXDEV, os.link, file, top + "/hard")
    refused(errno.EPERM, os.unlink, m / GROUP + "/owner")
    refused(errno.EPERM, os.unlink, m / GROUP + "/latest")
    refused(errno.EPERM, os.mkdir, m / ".pbs3fs/x")
    os.mkdir(m / "host/other")
    refused(errno.EXDEV, os.rename, top + "/dump",
            m / "host/other/current/dump")
    refused(errno.EXDEV, os.link, top + "/dump",
            m / "host/other/current/dump")
    m.stop()


def test_one_writer(local, mounts, tmp):
    """The second is refused, a reader is not."""
    m = local.mount()
    top = writing.begin(m)
    fill(top)
    path = writing.publish(m)
    p = run("mount", local.store, os.path.join(tmp, "mnt0"), "-f", "-o",
            f"rw,state={tmp}/s2", check=False)
    assert p.returncode == 1
    os.makedirs(tmp + "/second")
    p = run("mount", local.store, tmp + "/second", "-f", "-o",
            f"rw,state={tmp}/s2", check=False)
    assert p.returncode == 1
    assert "-o ro" in p.stderr
    reader = mounts(local.store, name="reader")
    writing.same(contents(m / path),
                 contents(reader / path))
    m.stop()


def test_reader_sees_what_is_published(local, mounts):
    m = local.mount()
    top = writing.begin(m)
    reader = mounts(local.store, name="reader")
    assert os.listdir(reader / GROUP) == ["owner"]
    os.mkdir(top + "/d")
    path = writing.publish(m)
    run("refresh", reader.path)
    assert sorted(os.listdir(reader / path)) == ["d", "index.json"]
    m.stop()


def test_read_only_disk(local, tmp):
    """Without rw or ro a disk that cannot be written means reading."""
    m = local.mount()
    os.mkdir(writing.begin(m) + "/d")
    path = writing.publish(m)
    m.stop()
    ro = os.path.join(tmp, "ro")
    os.mkdir(ro)
    subprocess.run(["mount", "--bind", local.store, ro], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", ro], check=True)
    try:
        s = writing.Site(ro, tmp)
        s.mounts = list(local.mounts)
        m = s.mount(mode="noexec")
        assert "read-only" in m.log()
        assert "current" not in os.listdir(m / GROUP)
        assert os.path.isdir(m / path)
        refused(errno.EROFS, os.mkdir, m / "host/x")
        m.stop()
        p = run("mount", ro, tmp + "/mnt0", "-f", "-o",
                f"rw,state={tmp}/s2", check=False)
        assert p.returncode in (1, 5)
    finally:
        subprocess.run(["umount", "-l", ro], check=True)


def test_subdir(local):
    """Just a directory of an open snapshot."""
    m = local.mount()
    os.mkdir(writing.begin(m) + "/data")
    m.stop()
    m = local.mount(f"subdir={GROUP}/current/data")
    os.mkdir(m / "inner")
    with open(m / "inner/f", "w") as f:
        f.write("text")
    os.rename(m / "inner/f", m / "g")
    assert sorted(os.listdir(m.path)) == ["g", "inner"]
    assert os.stat(m.path).st_ino == 1
    m.stop()
    m = local.mount()
    with open(m / f"{GROUP}/current/data/g") as f:
        assert f.read() == "text"
    m.stop()
    with pytest.raises(AssertionError) as e:
        local.mount(f"subdir={GROUP}/current/nothing")
    assert "nothing" in str(e.value)


def test_idle(local):
    """Published by itself once nobody has written for a while."""
    m = local.mount("snapshot-idle=1s")
    top = writing.begin(m)
    with open(top + "/f", "w") as f:
        f.write("x")
    wait_for(lambda: os.path.lexists(m / GROUP + "/latest"), 20,
             "a snapshot")
    with open(m / GROUP + "/latest/f") as f:
        assert f.read() == "x"
    m.stop()


def test_status(local):
    m = local.mount()
    top = writing.begin(m)
    w = m.status()["writing"]
    assert w["changed"] == 0 and w["groups"] == []
    with open(top + "/f", "wb") as f:
        f.write(b"x" * 100_000)
    w = m.status()["writing"]
    assert w["changed"] == 1 and w["staged"] >= 100_000
    assert w["groups"][0]["group"] == GROUP
    text = run("status", m.path).stdout
    assert GROUP in text and "staged" in text
    with open(m / ".pbs3fs/metrics") as f:
        assert "pbs3fs_unpublished_groups" in f.read()
    p = run("umount", m.path)
    m.proc.wait(20)
    assert "next mount" in p.stderr
    m.stop()


def test_free_space(site):
    m = site.mount()
    s = os.statvfs(m.path)
    assert s.f_bavail > 0 and s.f_favail > 0
    m.stop()
    m = site.mount(mode="ro")
    assert os.statvfs(m.path).f_bavail == 0
    m.stop()
