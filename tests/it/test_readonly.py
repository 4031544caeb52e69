# SPDX-License-Identifier: GPL-3.0-or-later
"""A mount that may only read: nothing but GET, HEAD and LIST is ever sent,
and a key that may do no more is enough."""
import errno
import json
import os
import subprocess

import pytest

from conftest import write_credentials
from pbs3fs_test import check, fixtures
from pbs3fs_test.mount import run

SNAP = "vm/100/2024-01-01T00:00:00Z"


def use(m):
    """A bit of everything that reads."""
    subprocess.run(["find", m.path, "-ls"], stdout=subprocess.PIPE,
                   check=True)
    check.failures(m / SNAP)
    for name in ("status.json", "metrics", "errors"):
        with open(m / ".pbs3fs/" + name) as f:
            f.read()


def test_nothing_is_written(bucket, mounts, tmp):
    b = bucket("damaged/ok")
    mark = b.gateway.mark()
    opts = [f"cache={tmp}/c", f"state={tmp}/s", *b.options()]
    m = mounts(b.store, *opts)
    use(m)
    run("refresh", b.store, "-o", ",".join(opts))
    run("ls", "-l", b.store, "vm/100", "-o", ",".join(opts))
    m.stop()
    verbs = {r.verb for r in b.gateway.requests(mark)}
    assert verbs <= {"GET", "HEAD"}


def policy(b, statement):
    doc = {"Version": "2012-10-17", "Statement": [
        {"Resource": [f"arn:aws:s3:::{b.name}", f"arn:aws:s3:::{b.name}/*"],
         "Effect": "Allow", **statement}]}
    b.gateway.client().put_bucket_policy(Bucket=b.name,
                                         Policy=json.dumps(doc))


@pytest.fixture
def own(new_bucket, fx):
    return new_bucket(fixtures.store_objects(
        os.path.join(fx["damaged"], "ok"), "store"))


def test_read_only_key(own, mounts, tmp):
    """A user that may list and get, nothing else."""
    policy(own, {"Principal": {"AWS": ["arn:aws:iam:::user/other"]},
                 "Action": ["s3:ListBucket", "s3:GetObject"]})
    own.credentials = write_credentials(f"{tmp}/key", *own.gateway.keys_2)
    m = mounts(own.store, f"cache={tmp}/c", f"state={tmp}/s", *own.options())
    use(m)
    assert m.errors() == ""


def test_read_only_key_is_noticed(own, mounts, tmp):
    """Neither ro nor rw: one warning, and the mount is read-only."""
    policy(own, {"Principal": {"AWS": ["arn:aws:iam:::user/other"]},
                 "Action": ["s3:ListBucket", "s3:GetObject"]})
    own.credentials = write_credentials(f"{tmp}/key", *own.gateway.keys_2)
    opts = [f"cache={tmp}/c", f"state={tmp}/s", *own.options()]
    m = mounts(own.store, *opts, mode="noexec")
    assert m.log().count("read-only") == 1
    use(m)
    with pytest.raises(OSError) as e:
        os.mkdir(m / "host/x")
    assert e.value.errno == errno.EROFS
    with open("/proc/mounts") as f:
        line = next(x for x in f if x.split()[1] == m.path)
    assert line.split()[3].split(",")[0] == "ro"
    m.stop()
    p = run("mount", own.store, m.path, "-f", "-o",
            ",".join(["rw", *opts]), check=False)
    assert p.returncode == 5


def test_not_allowed(own, mounts, tmp):
    """A user without any right: a sentence that says so."""
    own.credentials = write_credentials(f"{tmp}/key", *own.gateway.keys_2)
    with pytest.raises(AssertionError) as e:
        mounts(own.store, f"cache={tmp}/c", f"state={tmp}/s",
               *own.options())
    assert "permission" in str(e.value) or "denied" in str(e.value)


def test_writing_fails(fx, mounts, tmp):
    """EROFS for whatever would change something."""
    m = mounts(os.path.join(fx["damaged"], "ok"), f"cache={tmp}/c",
               f"state={tmp}/s")
    file = m / SNAP + "/qemu-server.conf"
    tries = [lambda: open(file, "w"), lambda: open(file, "a"),
             lambda: open(m / "new", "w"), lambda: os.mkdir(m / "host/new"),
             lambda: os.unlink(file), lambda: os.rename(file, file + "2"),
             lambda: os.rmdir(m / SNAP), lambda: os.chmod(file, 0),
             lambda: os.chown(file, 1, 1), lambda: os.utime(file),
             lambda: os.symlink("x", m / "l"),
             lambda: os.link(file, m / "hl"),
             lambda: os.truncate(file, 0),
             lambda: os.setxattr(file, "user.x", b"1")]
    for t in tries:
        with pytest.raises(OSError) as e:
            t()
        assert e.value.errno == errno.EROFS
    with open("/proc/mounts") as f:
        line = next(x for x in f if x.split()[1] == m.path)
    assert line.split()[3].split(",")[0] == "ro"


def tree_state(top):
    """Names, sizes, times and modes below a directory."""
    out = {}
    for parent, dirs, files in os.walk(top):
        for n in dirs + files:
            st = os.lstat(os.path.join(parent, n))
            out[os.path.join(parent, n)] = (
                st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_mode)
    return out


def test_directory_is_left_alone(fx, mounts, tmp):
    """Not even a damaged datastore is touched."""
    for case in ("ok", "chunk-bitflip-data", "unfinished"):
        top = os.path.join(fx["damaged"], case)
        before = tree_state(top)
        m = mounts(top, f"cache={tmp}/c-{case}", f"state={tmp}/s-{case}")
        check.failures(m.path)
        m.stop()
        assert tree_state(top) == before


def test_read_only_medium(fx, mounts, tmp):
    """A datastore on a disk that cannot be written at all."""
    ro = os.path.join(tmp, "ro")
    os.mkdir(ro)
    subprocess.run(["mount", "--bind", os.path.join(fx["damaged"], "ok"),
                    ro], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", ro], check=True)
    try:
        m = mounts(ro, f"cache={tmp}/c", f"state={tmp}/s")
        failed, _ = check.failures(m.path)
        assert failed == {}
        m.stop()
    finally:
        subprocess.run(["umount", "-l", ro], check=True)
