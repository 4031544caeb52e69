# SPDX-License-Identifier: GPL-3.0-or-later
"""
Attributes, permissions and locks in an open snapshot, on
files that are new and on those of the snapshot before.  At the end of each
test what is there is published and compared with what another host sees.
"""
import errno
import fcntl
import os
import stat
import time

import pytest

from pbs3fs_test import listing, trees
from pbs3fs_test.place import as_user, read
from pbs3fs_test.trees import overwrite, raises, write

pytestmark = pytest.mark.sanitize
USER, OTHER = 1000, 1001


# Attributes.

def test_chmod(place):
    def fill(d):
        write(d + "/f", b"x")
        os.mkdir(d + "/dir")
    d = place.make(fill)
    for mode in (0, 0o777, 0o4755, 0o2755, 0o1777, 0o7777, 0o600):
        for n in ("/f", "/dir"):
            os.chmod(d + n, mode)
            assert stat.S_IMODE(os.stat(d + n).st_mode) == mode
    before = os.stat(d + "/f")
    time.sleep(0.02)
    os.chmod(d + "/f", 0o644)
    after = os.stat(d + "/f")
    assert after.st_ctime_ns > before.st_ctime_ns
    assert after.st_mtime_ns == before.st_mtime_ns


def test_setid_is_cleared(place):
    def fill(d):
        for n in ("chown", "write", "truncate", "root", "dir-chown"):
            write(f"{d}/{n}", b"content")
            os.chown(f"{d}/{n}", USER, USER)
            os.chmod(f"{d}/{n}", 0o6755)
        write(d + "/caps", b"x")
        os.chmod(d + "/caps", 0o755)
        os.setxattr(d + "/caps", "security.capability", trees.CAP_NET_RAW)
        os.chmod(d, 0o777)
    d = place.make(fill)

    def mode(n):
        return stat.S_IMODE(os.stat(f"{d}/{n}").st_mode)

    assert mode("chown") == 0o6755
    os.chown(d + "/chown", 1, 2)
    assert mode("chown") == 0o755
    as_user(USER, overwrite, d + "/write", 2, b"x")
    assert mode("write") & 0o6000 == 0
    as_user(USER, os.truncate, d + "/truncate", 2)
    assert mode("truncate") & 0o6000 == 0
    overwrite(d + "/caps", 0, b"y")
    raises(errno.ENODATA, os.getxattr, d + "/caps", "security.capability")


def test_chown(place):
    def fill(d):
        write(d + "/f", b"x")
        os.chown(d + "/f", USER, USER)
        os.chmod(d, 0o777)
    d = place.make(fill)
    raises(errno.EPERM, as_user, OTHER, os.chown, d + "/f", OTHER, -1)
    raises(errno.EPERM, as_user, USER, os.chown, d + "/f", OTHER, -1)
    raises(errno.EPERM, as_user, USER, os.chown, d + "/f", -1, 7)
    as_user(USER, lambda: os.chown(d + "/f", -1, 7), groups=[7])
    assert os.stat(d + "/f").st_gid == 7
    os.chown(d + "/f", 2**32 - 2, 2**31)
    st = os.stat(d + "/f")
    assert (st.st_uid, st.st_gid) == (2**32 - 2, 2**31)
    os.chown(d + "/f", -1, -1)
    assert os.stat(d + "/f").st_uid == 2**32 - 2


def test_times(place):
    def fill(d):
        write(d + "/f", b"x")
        os.utime(d + "/f", ns=(1, 1_234_567_890_123_456_789))
        os.mkdir(d + "/dir")
    d = place.make(fill)
    f = d + "/f"
    assert os.stat(f).st_mtime_ns == 1_234_567_890_123_456_789
    for when in trees.TIMES:
        for n in (f, d + "/dir"):
            os.utime(n, ns=(0, when))
            assert os.stat(n).st_mtime_ns == when
    now = time.time_ns()
    os.utime(f)
    assert abs(os.stat(f).st_mtime_ns - now) < 10**9
    os.utime(f, ns=(0, 5))
    with open(f, "ab") as h:
        h.write(b"y")
    assert abs(os.stat(f).st_mtime_ns - now) < 10**10
    os.utime(f, ns=(0, 7))
    read(f)
    assert os.stat(f).st_mtime_ns == 7
    with open(f, "r+b") as h:       # written, then set: what was set stays
        h.write(b"z")
        h.flush()
        os.utime(h.fileno(), ns=(0, 9))
    assert os.stat(f).st_mtime_ns == 9
    os.truncate(f, 2)
    assert os.stat(f).st_mtime_ns > 9
    os.chmod(f, 0o666)
    os.chmod(d, 0o777)
    as_user(USER, os.utime, f)                          # may write: now
    raises(errno.EPERM, as_user, USER, lambda: os.utime(f, ns=(0, 1)))


def test_xattrs(place):
    def fill(d):
        write(d + "/f", b"x")
        os.setxattr(d + "/f", "user.old", b"1")
        os.mkdir(d + "/dir")
    d = place.make(fill)
    f = d + "/f"
    assert os.getxattr(f, "user.old") == b"1"
    raises(errno.EEXIST, os.setxattr, f, "user.old", b"2", os.XATTR_CREATE)
    raises(errno.ENODATA, os.setxattr, f, "user.new", b"2",
           os.XATTR_REPLACE)
    raises(errno.ENODATA, os.getxattr, f, "user.new")
    raises(errno.ENODATA, os.removexattr, f, "user.new")
    os.setxattr(f, "user.old", b"2", os.XATTR_REPLACE)
    os.setxattr(f, "user.new", b"", os.XATTR_CREATE)
    os.setxattr(d + "/dir", "trusted.x", b"t")
    os.setxattr(f, "user.binary", bytes(range(256)))
    assert sorted(os.listxattr(f)) == ["user.binary", "user.new", "user.old"]
    assert os.getxattr(f, "user.new") == b""
    os.removexattr(f, "user.old")
    assert sorted(os.listxattr(f)) == ["user.binary", "user.new"]
    raises(errno.EOPNOTSUPP, os.setxattr, f, "nothing.x", b"1")
    raises(errno.EPERM, as_user, USER, os.setxattr, f, "trusted.x", b"1")
    raises(errno.EACCES, as_user, USER, os.setxattr, f, "user.x", b"1")
    os.symlink("f", d + "/link")
    raises(errno.EPERM, os.setxattr, d + "/link", "user.x", b"1",
           follow_symlinks=False)
    for i in range(100):
        os.setxattr(f, f"user.n{i}", b"%d" % i)
    assert len(os.listxattr(f)) == 102


# Permissions, as other users.

def test_permissions(place):
    def fill(d):
        for n, mode in (("none", 0), ("owner", 0o600), ("group", 0o640),
                        ("all", 0o666), ("exec", 0o711)):
            write(f"{d}/{n}", b"x")
            os.chown(f"{d}/{n}", USER, 50)
            os.chmod(f"{d}/{n}", mode)
        for n, mode in (("closed", 0o700), ("search", 0o711),
                        ("list", 0o744), ("open", 0o777)):
            os.mkdir(f"{d}/{n}")
            write(f"{d}/{n}/f", b"x")
            os.chown(f"{d}/{n}", USER, 50)
            os.chmod(f"{d}/{n}", mode)
    d = place.make(fill)
    raises(errno.EACCES, as_user, OTHER, read, d + "/none")
    raises(errno.EACCES, as_user, USER, read, d + "/none")
    assert as_user(USER, read, d + "/owner") == b"x"
    raises(errno.EACCES, as_user, OTHER, read, d + "/owner")
    raises(errno.EACCES, as_user, OTHER, read, d + "/group")
    assert as_user(OTHER, read, d + "/group", groups=[50]) == b"x"
    raises(errno.EACCES, lambda: as_user(OTHER, write, d + "/group", b"y",
                                         groups=[50]))
    as_user(OTHER, write, d + "/all", b"other")
    assert read(d + "/all") == b"other"
    raises(errno.EACCES, as_user, OTHER, os.listdir, d + "/closed")
    raises(errno.EACCES, as_user, OTHER, read, d + "/closed/f")
    raises(errno.EACCES, as_user, OTHER, os.listdir, d + "/search")
    assert as_user(OTHER, read, d + "/search/f") == b"x"
    assert b"f" in as_user(OTHER, os.listdir, d + "/list")
    raises(errno.EACCES, as_user, OTHER, read, d + "/list/f")
    raises(errno.EACCES, as_user, OTHER, write, d + "/new", b"x")
    raises(errno.EACCES, as_user, OTHER, os.unlink, d + "/all")
    raises(errno.EACCES, as_user, OTHER, os.mkdir, d + "/search/x")
    raises(errno.EACCES, as_user, OTHER, os.rename, d + "/open/f",
           d + "/search/f2")
    raises(errno.EPERM, as_user, OTHER, os.chmod, d + "/all", 0o777)
    as_user(OTHER, os.mkdir, d + "/open/mine")
    as_user(OTHER, os.unlink, d + "/open/f")
    st = os.stat(d + "/open/mine")
    assert (st.st_uid, st.st_gid) == (OTHER, OTHER)
    assert as_user(OTHER, os.access, d + "/exec", os.X_OK) == b"True"
    assert as_user(OTHER, os.access, d + "/exec", os.R_OK) == b"False"
    assert as_user(OTHER, os.access, d + "/all", os.X_OK) == b"False"
    assert read(d + "/none") == b"x"                    # root may


def test_sticky(place):
    def fill(d):
        os.mkdir(d + "/tmp")
        os.chmod(d + "/tmp", 0o1777)
        for uid in (USER, OTHER):
            write(f"{d}/tmp/{uid}", b"x")
            os.chown(f"{d}/tmp/{uid}", uid, uid)
    d = place.make(fill)
    t = d + "/tmp/"
    raises(errno.EPERM, as_user, USER, os.unlink, t + str(OTHER))
    raises(errno.EPERM, as_user, USER, os.rename, t + str(OTHER), t + "x")
    raises(errno.EPERM, as_user, USER, os.rename, t + str(USER),
           t + str(OTHER))
    as_user(USER, os.rename, t + str(USER), t + "mine")
    as_user(USER, os.unlink, t + "mine")
    os.unlink(t + str(OTHER))


def test_setgid_directory(place):
    def fill(d):
        os.mkdir(d + "/shared")
        os.chown(d + "/shared", 0, 77)
        os.chmod(d + "/shared", 0o2777)
    d = place.make(fill)
    s = d + "/shared"
    as_user(USER, write, s + "/f", b"x")
    as_user(USER, os.mkdir, s + "/sub")
    as_user(USER, os.symlink, "f", s + "/link")
    assert os.stat(s + "/f").st_gid == os.stat(s + "/sub").st_gid == 77
    assert os.lstat(s + "/link").st_gid == 77
    assert os.stat(s + "/sub").st_mode & stat.S_ISGID
    assert not os.stat(s + "/f").st_mode & stat.S_ISGID


def test_umask(place):
    d = place.make(lambda d: os.chmod(d, 0o777))
    for mask in (0, 0o022, 0o077, 0o777):
        as_user(USER, lambda: os.close(os.open(
            f"{d}/f{mask}", os.O_CREAT | os.O_WRONLY, 0o666)), umask=mask)
        as_user(USER, lambda: os.mkdir(f"{d}/d{mask}"), umask=mask)
        as_user(USER, lambda: os.mkfifo(f"{d}/p{mask}"), umask=mask)
        assert stat.S_IMODE(os.stat(f"{d}/f{mask}").st_mode) == 0o666 & ~mask
        assert stat.S_IMODE(os.stat(f"{d}/d{mask}").st_mode) == 0o777 & ~mask
        assert stat.S_IMODE(os.stat(f"{d}/p{mask}").st_mode) == 0o666 & ~mask


def acl_of(path, name=listing.ACL_ACCESS):
    return listing._acl_entries(os.getxattr(path, name))


def test_acl(place):
    L = listing

    def fill(d):
        write(d + "/f", b"x")
        os.chmod(d + "/f", 0o600)
        os.setxattr(d + "/f", L.ACL_ACCESS, trees.acl(
            (L.USER_OBJ, 6), (L.USER, 4, USER), (L.GROUP_OBJ, 0),
            (L.GROUP, 6, 50), (L.MASK, 4), (L.OTHER, 0)))
        os.mkdir(d + "/dir")
        os.chmod(d + "/dir", 0o777)
        os.setxattr(d + "/dir", L.ACL_DEFAULT, trees.DEFAULT)
        write(d + "/plain", b"x")
    d = place.make(fill)
    f = d + "/f"
    assert stat.S_IMODE(os.stat(f).st_mode) == 0o640
    assert as_user(USER, read, f) == b"x"
    raises(errno.EACCES, as_user, OTHER, read, f)
    assert as_user(OTHER, read, f, groups=[50]) == b"x"
    # The mask takes writing from the group.
    raises(errno.EACCES, lambda: as_user(OTHER, overwrite, f, 0, b"y",
                                         groups=[50]))
    os.chmod(f, 0o660)
    as_user(OTHER, overwrite, f, 0, b"y", groups=[50])
    assert read(f) == b"y"
    assert [p for t, p, _ in acl_of(f) if t == L.MASK] == [6]
    os.chmod(f, 0o600)
    raises(errno.EACCES, as_user, USER, read, f)
    assert [p for t, p, _ in acl_of(f) if t == L.GROUP_OBJ] == [0]
    raises(errno.EPERM, as_user, USER, os.setxattr, f, L.ACL_ACCESS,
           trees.ACCESS)
    # Defaults go to what is made, in place of the umask.
    as_user(USER, lambda: os.close(os.open(
        d + "/dir/f", os.O_CREAT | os.O_WRONLY, 0o666)), umask=0o077)
    as_user(USER, lambda: os.mkdir(d + "/dir/sub"), umask=0o077)
    as_user(USER, lambda: os.mkfifo(d + "/dir/fifo", 0o600), umask=0)
    os.symlink("f", d + "/dir/link")
    assert stat.S_IMODE(os.stat(d + "/dir/f").st_mode) == 0o660
    assert dict((t, p) for t, p, _ in acl_of(d + "/dir/f")) == {
        L.USER_OBJ: 6, L.USER: 6, L.GROUP_OBJ: 5, L.GROUP: 7, L.MASK: 6,
        L.OTHER: 0}
    assert stat.S_IMODE(os.stat(d + "/dir/fifo").st_mode) == 0o600
    assert acl_of(d + "/dir/sub", L.ACL_DEFAULT) == \
        acl_of(d + "/dir", L.ACL_DEFAULT)
    assert stat.S_IMODE(os.stat(d + "/dir/sub").st_mode) == 0o770
    raises(errno.ENODATA, os.getxattr, d + "/dir/f", L.ACL_DEFAULT)
    raises(errno.EACCES, os.setxattr, f, L.ACL_DEFAULT, trees.DEFAULT)
    raises(errno.EINVAL, os.setxattr, f, L.ACL_ACCESS, trees.ACCESS + b"x")
    raises(errno.EINVAL, os.setxattr, f, L.ACL_ACCESS,
           trees.acl((L.USER_OBJ, 7), (L.USER, 7, 5)))
    # One that says what the mode says is none.
    os.setxattr(d + "/plain", L.ACL_ACCESS, trees.acl(
        (L.USER_OBJ, 7), (L.GROUP_OBJ, 5), (L.OTHER, 1)))
    assert stat.S_IMODE(os.stat(d + "/plain").st_mode) == 0o751
    assert os.listxattr(d + "/plain") == []
    os.removexattr(d + "/dir", L.ACL_DEFAULT)
    os.mkdir(d + "/dir/later")
    assert os.listxattr(d + "/dir/later") == []


# Locks.

def in_child(fn):
    """The errno that fn fails with in another process, or 0."""
    try:
        as_user(0, fn)
    except OSError as e:
        return e.errno
    return 0


@pytest.mark.parametrize("kind", ["flock", "fcntl"])
def test_locks(kind, place):
    d = place.make(lambda d: write(d + "/f", b"x" * 100))
    lock = fcntl.flock if kind == "flock" else fcntl.lockf
    now = fcntl.LOCK_NB

    def attempt(how):
        def fn():
            with open(d + "/f", "r+b") as f:
                lock(f, how | now)
        return in_child(fn)

    with open(d + "/f", "r+b") as f:
        lock(f, fcntl.LOCK_EX)
        assert attempt(fcntl.LOCK_SH) in (errno.EAGAIN, errno.EACCES)
        assert attempt(fcntl.LOCK_EX) in (errno.EAGAIN, errno.EACCES)
        lock(f, fcntl.LOCK_SH)
        assert attempt(fcntl.LOCK_SH) == 0
        assert attempt(fcntl.LOCK_EX) in (errno.EAGAIN, errno.EACCES)
        lock(f, fcntl.LOCK_UN)
        assert attempt(fcntl.LOCK_EX) == 0
        lock(f, fcntl.LOCK_EX)
    assert attempt(fcntl.LOCK_EX) == 0
    # Who waits gets it.
    r, w = os.pipe()
    f = open(d + "/f", "r+b")
    lock(f, fcntl.LOCK_EX)
    pid = os.fork()
    if pid == 0:
        f.close() if kind == "fcntl" else os.close(f.fileno())
        with open(d + "/f", "r+b") as g:
            os.write(w, b"a")
            lock(g, fcntl.LOCK_EX)
            os.write(w, b"b")
        os._exit(0)
    assert os.read(r, 1) == b"a"
    time.sleep(0.1)
    os.set_blocking(r, False)
    raises(errno.EAGAIN, os.read, r, 1)
    os.set_blocking(r, True)
    lock(f, fcntl.LOCK_UN)
    assert os.read(r, 1) == b"b"
    os.waitpid(pid, 0)
    f.close()


def test_lock_ranges(place):
    d = place.make(lambda d: write(d + "/f", b"x" * 100))
    with open(d + "/f", "r+b") as f:
        fcntl.lockf(f, fcntl.LOCK_EX, 10, 20)

        def attempt(n, at):
            def fn():
                with open(d + "/f", "r+b") as g:
                    fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, n, at)
            return in_child(fn)

        assert attempt(20, 0) == 0
        assert attempt(21, 0) != 0
        assert attempt(5, 22) != 0
        assert attempt(5, 30) == 0
