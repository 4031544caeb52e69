# SPDX-License-Identifier: GPL-3.0-or-later
"""
What programs may do with content and names in an open snapshot, on
files that are new and on those of the snapshot before.  At the end of each
test what is there is published and compared with what another host sees.
"""
import contextlib
import ctypes
import errno
import mmap
import os
import random
import socket
import stat
import subprocess
import threading
import time

import pytest

from pbs3fs_test import pbsgen, trees, writing
from pbs3fs_test.place import GROUP, libc, link_open, opened, read
from pbs3fs_test.trees import EXCHANGE, MIB, NOREPLACE, overwrite, raises, \
    renameat2, write

pytestmark = pytest.mark.sanitize
FALLOC_KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO, INSERT, UNSHARE = \
    1, 2, 8, 16, 32, 64


# Content.

def test_open_flags(place):
    d = place.make(lambda d: write(d + "/f", b"0123456789"))
    raises(errno.EEXIST, os.open, d + "/f", os.O_CREAT | os.O_EXCL |
           os.O_WRONLY)
    raises(errno.ENOENT, os.open, d + "/none", os.O_RDWR)
    raises(errno.EISDIR, os.open, d, os.O_WRONLY)
    raises(errno.ENOTDIR, os.open, d + "/f/x", os.O_RDONLY)
    raises(errno.ENOTDIR, os.open, d + "/f", os.O_RDONLY | os.O_DIRECTORY)
    raises(errno.ENAMETOOLONG, os.open, d + "/" + "n" * 256,
           os.O_CREAT | os.O_WRONLY)
    os.symlink("f", d + "/link")
    raises(errno.ELOOP, os.open, d + "/link", os.O_RDONLY | os.O_NOFOLLOW)
    with opened(d + "/link", os.O_RDWR) as fd:
        os.pwrite(fd, b"ab", 2)
    with opened(d + "/f", os.O_WRONLY) as fd:
        raises(errno.EBADF, os.read, fd, 1)
    with opened(d + "/f", os.O_RDONLY) as fd:
        raises(errno.EBADF, os.write, fd, b"x")
    assert read(d + "/f") == b"01ab456789"
    with opened(d + "/f", os.O_WRONLY | os.O_TRUNC) as fd:
        assert os.fstat(fd).st_size == 0
    assert read(d + "/f") == b""


def test_append(place):
    """Several at once, each write whole."""
    d = place.make(lambda d: write(d + "/log", b"first\n" * 1000))
    fds = [os.open(d + "/log", os.O_WRONLY | os.O_APPEND) for _ in range(4)]

    def work(n):
        for i in range(100):
            os.write(fds[n], b"%d %03d" % (n, i) + b"." * 50 + b"\n")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    os.pwrite(fds[0], b"at the end, too\n", 0)     # as Linux does
    for fd in fds:
        os.close(fd)
    lines = read(d + "/log").splitlines()
    assert len(lines) == 1000 + 400 + 1
    assert lines[:1000] == [b"first"] * 1000
    assert lines[-1] == b"at the end, too"
    for n in range(4):
        own = [x for x in lines if x.startswith(b"%d " % n)]
        assert own == sorted(own) and len(own) == 100


def test_truncate(place):
    data = pbsgen.noise(10 * MIB, 1)
    d = place.make(lambda d: write(d + "/f", data))
    f = d + "/f"
    for size in (10 * MIB - 1, 5 * MIB + 3, 4096, 4095, 1):
        os.truncate(f, size)
        assert os.stat(f).st_size == size
        assert read(f) == data[:size]
    os.truncate(f, 3 * MIB)
    assert read(f) == data[:1] + bytes(3 * MIB - 1)
    with opened(f, os.O_RDWR) as fd:
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"x", 100)
        os.ftruncate(fd, 50)
        os.ftruncate(fd, 200)
        assert os.pread(fd, 300, 0) == bytes(200)
    raises(errno.EINVAL, os.truncate, f, -1)
    os.truncate(f, 1 << 40)
    assert os.stat(f).st_size == 1 << 40
    with opened(f, os.O_RDWR) as fd:
        os.pwrite(fd, b"far", (1 << 40) - 3)
        assert os.pread(fd, 10, (1 << 40) - 5) == b"\0\0far"
    os.truncate(f, 1000)


def test_random_rewrite(place):
    """Against a buffer, over chunk boundaries."""
    size = 9 * MIB + 77
    model = bytearray(pbsgen.noise(size, 7))
    d = place.make(lambda d: write(d + "/f", model))
    r = random.Random(11)
    with opened(d + "/f", os.O_RDWR) as fd:
        for i in range(400):
            at = r.randrange(size)
            n = min(r.choice([1, 100, 4096, 70_000, 600_000]), size - at)
            if r.random() < 0.3:
                assert os.pread(fd, n, at) == model[at:at + n], i
            else:
                data = pbsgen.noise(n, i)
                os.pwrite(fd, data, at)
                model[at:at + n] = data
            if i % 97 == 0:
                os.fsync(fd)
    assert read(d + "/f") == model


def test_sparse(place):
    def fill(d):
        with open(d + "/f", "wb") as f:
            f.seek(2 * MIB)
            f.write(pbsgen.noise(MIB))
            f.truncate(8 * MIB)
    d = place.make(fill)
    with opened(d + "/f", os.O_RDWR) as fd:
        # Holes may be reported as data, never the other way round.
        assert os.lseek(fd, 2 * MIB, os.SEEK_DATA) == 2 * MIB
        assert os.lseek(fd, 2 * MIB + 5, os.SEEK_DATA) == 2 * MIB + 5
        assert os.lseek(fd, 0, os.SEEK_DATA) <= 2 * MIB
        assert os.lseek(fd, 2 * MIB, os.SEEK_HOLE) >= 3 * MIB
        assert os.lseek(fd, 8 * MIB - 1, os.SEEK_HOLE) <= 8 * MIB
        raises(errno.ENXIO, os.lseek, fd, 8 * MIB, os.SEEK_DATA)
        raises(errno.ENXIO, os.lseek, fd, 8 * MIB, os.SEEK_HOLE)
        raises(errno.ENXIO, os.lseek, fd, 9 * MIB, os.SEEK_DATA)
        os.pwrite(fd, b"tail", 10 * MIB)
        assert os.lseek(fd, 10 * MIB, os.SEEK_DATA) == 10 * MIB
        assert os.lseek(fd, 10 * MIB, os.SEEK_HOLE) == 10 * MIB + 4
        if not place.base:
            assert os.lseek(fd, 0, os.SEEK_DATA) == 2 * MIB
            assert os.lseek(fd, 2 * MIB, os.SEEK_HOLE) == 3 * MIB
            assert os.lseek(fd, 4 * MIB, os.SEEK_DATA) > 4 * MIB
        os.pwrite(fd, bytes(100), 5 * MIB)
    assert os.stat(d + "/f").st_size == 10 * MIB + 4
    if not place.base:
        assert os.stat(d + "/f").st_blocks * 512 < 3 * MIB


def falloc(fd, mode, off, n):
    r = libc.fallocate(fd, mode, ctypes.c_int64(off), ctypes.c_int64(n))
    if r < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def test_fallocate(place):
    data = pbsgen.noise(6 * MIB, 3)
    d = place.make(lambda d: write(d + "/f", data))
    model = bytearray(data)
    with opened(d + "/f", os.O_RDWR) as fd:
        falloc(fd, 0, 0, MIB)
        falloc(fd, FALLOC_KEEP_SIZE, 0, 20 * MIB)
        assert os.fstat(fd).st_size == 6 * MIB
        falloc(fd, 0, 7 * MIB, MIB)
        model += bytes(2 * MIB)
        assert os.fstat(fd).st_size == 8 * MIB
        falloc(fd, PUNCH_HOLE | FALLOC_KEEP_SIZE, 4 * MIB - 1000, 2000)
        model[4 * MIB - 1000:4 * MIB + 1000] = bytes(2000)
        falloc(fd, PUNCH_HOLE | FALLOC_KEEP_SIZE, 8 * MIB - 10, MIB)
        assert os.fstat(fd).st_size == 8 * MIB
        falloc(fd, ZERO, 100, 300_000)
        model[100:300_100] = bytes(300_000)
        falloc(fd, ZERO | FALLOC_KEEP_SIZE, 9 * MIB, 10)
        assert os.fstat(fd).st_size == 8 * MIB
        falloc(fd, ZERO, 8 * MIB - 5, 10)
        model += bytes(5)
        assert os.pread(fd, 9 * MIB, 0) == model
        for mode in (COLLAPSE, INSERT, UNSHARE):
            with pytest.raises(OSError) as e:
                falloc(fd, mode, 4096, 4096)
            assert e.value.errno in (errno.EOPNOTSUPP, errno.EINVAL)
        raises(errno.EINVAL, falloc, fd, 0, 0, 0)
        raises(errno.EINVAL, falloc, fd, 0, -1, 10)
        with opened(d + "/f", os.O_RDONLY) as ro:
            raises(errno.EBADF, falloc, ro, 0, 0, 10)
    assert read(d + "/f") == model


def test_direct(place):
    size = 2 * MIB + 512
    d = place.make(lambda d: write(d + "/f", pbsgen.noise(size, 5)))
    buf = mmap.mmap(-1, MIB)
    with opened(d + "/f", os.O_RDWR | os.O_DIRECT) as fd:
        buf[:] = pbsgen.noise(MIB, 6)
        assert os.pwritev(fd, [buf], 65536) == MIB
        back = mmap.mmap(-1, MIB)
        assert os.preadv(fd, [back], 65536) == MIB
        assert back[:] == buf[:]
        # With what others have in the page cache.
        overwrite(d + "/f", 65536 + 4096, b"buffered")
        os.preadv(fd, [back], 65536)
        assert back[4096:4104] == b"buffered"
        buf[:4] = b"DIRE"
        assert os.pwritev(fd, [memoryview(buf)[:4096]], 0) == 4096
        assert read(d + "/f")[:4] == b"DIRE"
        assert os.preadv(fd, [back], 2 * MIB) == 512
        assert os.preadv(fd, [back], 3 * MIB) == 0


def test_mmap(place):
    size = 5 * MIB + 100
    d = place.make(lambda d: write(d + "/f", pbsgen.noise(size, 5)))
    want = bytearray(pbsgen.noise(size, 5))
    with opened(d + "/f", os.O_RDWR) as fd:
        with mmap.mmap(fd, size) as a, mmap.mmap(fd, size) as b:
            for at in (0, 4095, MIB, 4 * MIB - 3, size - 5):
                a[at:at + 5] = b"mmap!"
                want[at:at + 5] = b"mmap!"
                assert b[at:at + 5] == b"mmap!"
            a.flush()
            assert read(d + "/f") == want
            os.pwrite(fd, b"by write", 2 * MIB)
            want[2 * MIB:2 * MIB + 8] = b"by write"
            assert a[2 * MIB:2 * MIB + 8] == b"by write"
            a[3 * MIB:3 * MIB + 4] = b"last"
            want[3 * MIB:3 * MIB + 4] = b"last"
            # Not synced by hand: closing and publishing have to.
    assert read(d + "/f") == want
    with opened(d + "/f", os.O_RDONLY) as fd:
        with mmap.mmap(fd, size, mmap.MAP_PRIVATE,
                       mmap.PROT_READ | mmap.PROT_WRITE) as p:
            p[0:4] = b"priv"
    assert read(d + "/f") == want


def test_mmap_executes(place):
    """A program runs from there, and is busy while it does."""
    def fill(d):
        subprocess.run(["cp", "/bin/sleep", d + "/prog"], check=True)
    d = place.make(fill)
    assert subprocess.run([d + "/prog", "0"]).returncode == 0
    p = subprocess.Popen([d + "/prog", "5"])
    try:
        time.sleep(0.1)
        raises(errno.ETXTBSY, os.open, d + "/prog", os.O_WRONLY)
    finally:
        p.kill()
        p.wait()


# Names.

def test_rename(place):
    def fill(d):
        for n in "abcdef":
            write(f"{d}/{n}", n.encode())
        for n in ("empty", "full", "dir"):
            os.mkdir(f"{d}/{n}")
        write(d + "/full/x", b"x")
        write(d + "/dir/y", b"y")
        os.symlink("a", d + "/link")
    d = place.make(fill)
    ino = {n: os.lstat(f"{d}/{n}").st_ino for n in os.listdir(d)}
    held = open(d + "/b", "rb")
    os.rename(d + "/a", d + "/b")                   # over
    assert read(d + "/b") == b"a" and held.read() == b"b"
    assert os.fstat(held.fileno()).st_nlink == 0
    assert os.stat(d + "/b").st_ino == ino["a"]
    held.close()
    raises(errno.ENOENT, os.rename, d + "/a", d + "/z")
    raises(errno.EEXIST, renameat2, d + "/c", d + "/d", NOREPLACE)
    renameat2(d + "/c", d + "/g", NOREPLACE)
    assert read(d + "/g") == b"c"
    renameat2(d + "/d", d + "/e", EXCHANGE)
    assert (read(d + "/d"), read(d + "/e")) == (b"e", b"d")
    renameat2(d + "/f", d + "/full", EXCHANGE)      # file and directory
    assert read(d + "/full") == b"f" and os.listdir(d + "/f") == ["x"]
    raises(errno.ENOENT, renameat2, d + "/d", d + "/none", EXCHANGE)
    raises(errno.ENOTEMPTY, os.rename, d + "/dir", d + "/f")
    raises(errno.EISDIR, os.rename, d + "/d", d + "/empty")
    raises(errno.ENOTDIR, os.rename, d + "/dir", d + "/d")
    raises(errno.EINVAL, os.rename, d + "/dir", d + "/dir/sub")
    os.rename(d + "/dir", d + "/empty")             # over an empty one
    assert os.listdir(d + "/empty") == ["y"]
    assert os.stat(d + "/empty").st_ino == ino["dir"]
    os.rename(d + "/d", d + "/d")                   # onto itself
    os.link(d + "/d", d + "/d2")
    os.rename(d + "/d", d + "/d2")                  # one file: nothing is done
    assert os.path.exists(d + "/d") and os.stat(d + "/d").st_nlink == 2
    os.rename(d + "/link", d + "/empty/link")
    assert os.readlink(d + "/empty/link") == "a"
    os.rename(d + "/empty/y", d + "/" + "n" * 255)
    raises(errno.ENAMETOOLONG, os.rename, d + "/g", d + "/" + "n" * 256)
    raises(errno.EPERM, os.rename, d + "/g", place.m / "x")


def test_rename_open(place):
    d = place.make(lambda d: write(d + "/f", b"0123456789" * 1000))
    os.mkdir(d + "/sub")
    with open(d + "/f", "r+b", buffering=0) as f:
        os.rename(d + "/f", d + "/sub/g")
        f.seek(3)
        f.write(b"abc")
        os.rename(d + "/sub", d + "/other")
        f.write(b"def")
        assert os.fstat(f.fileno()).st_ino == os.stat(d + "/other/g").st_ino
    assert read(d + "/other/g")[:10] == b"012abcdef9"


def test_unlink_open(place):
    d = place.make(lambda d: write(d + "/f", b"0123456789" * 1000))
    with open(d + "/f", "r+b", buffering=0) as f:
        os.unlink(d + "/f")
        assert os.listdir(d) == []
        raises(errno.ENOENT, os.stat, d + "/f")
        assert os.fstat(f.fileno()).st_nlink == 0
        f.seek(5)
        f.write(b"still there")
        f.seek(0)
        assert f.read(20) == b"01234still there6789"
        os.ftruncate(f.fileno(), 5)
        os.fchmod(f.fileno(), 0o600)
        os.setxattr(f.fileno(), "user.x", b"1")
        assert os.getxattr(f.fileno(), "user.x") == b"1"
        os.fsync(f.fileno())
        write(d + "/f", b"another")
        snap = writing.publish(place.m)
        assert os.listdir(place.m / snap + "/data") == ["f"]
        f.seek(0)
        assert f.read() == b"01234"
        f.write(b"and on")
    assert read(d + "/f") == b"another"
    # A directory that somebody is in.
    os.mkdir(d + "/gone")
    with opened(d + "/gone", os.O_RDONLY) as fd:
        os.rmdir(d + "/gone")
        raises(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY,
               dir_fd=fd)
        assert os.listdir(fd) == []
        assert os.fstat(fd).st_nlink == 0


def test_links(place):
    def fill(d):
        write(d + "/a", b"one file")
        os.mkdir(d + "/sub")
        os.link(d + "/a", d + "/sub/b")
        write(d + "/single", b"x")
    d = place.make(fill)
    a, b = d + "/a", d + "/sub/b"
    assert os.stat(a).st_ino == os.stat(b).st_ino
    assert os.stat(a).st_nlink == os.stat(b).st_nlink == 2
    os.link(a, d + "/c")
    assert [os.stat(x).st_nlink for x in (a, b, d + "/c")] == [3] * 3
    write(b, b" for all", "ab")
    assert read(d + "/c") == b"one file for all"
    os.chmod(a, 0o640)
    assert stat.S_IMODE(os.stat(b).st_mode) == 0o640
    os.unlink(a)
    assert os.stat(b).st_nlink == 2
    os.unlink(d + "/c")
    assert os.stat(b).st_nlink == 1
    raises(errno.EEXIST, os.link, b, d + "/single")
    raises(errno.EPERM, os.link, d + "/sub", d + "/dir-link")
    raises(errno.ENOENT, os.link, d + "/a", d + "/x")
    os.link(d + "/single", d + "/sub/double")
    assert os.stat(d + "/single").st_nlink == 2
    # By descriptor, as who makes a file and names it when it is whole.
    with opened(d + "/single", os.O_RDONLY) as fd:
        link_open(fd, d + "/third")
    assert os.stat(d + "/third").st_nlink == 3


def test_symlinks(place):
    def fill(d):
        os.symlink("target", d + "/link")
        os.symlink("x" * 4095, d + "/long")
    d = place.make(fill)
    assert os.readlink(d + "/link") == "target"
    assert os.lstat(d + "/link").st_size == 6
    assert stat.S_IMODE(os.lstat(d + "/link").st_mode) == 0o777
    raises(errno.EEXIST, os.symlink, "x", d + "/link")
    raises(errno.ENOENT, os.symlink, "", d + "/none")
    raises(errno.ENAMETOOLONG, os.symlink, "x" * 4096, d + "/none")
    raises(errno.EINVAL, os.readlink, d)
    write(d + "/target", b"seen")
    assert read(d + "/link") == b"seen"
    os.lchown(d + "/link", 5, 6)
    os.utime(d + "/link", ns=(0, 123), follow_symlinks=False)
    st = os.lstat(d + "/link")
    assert (st.st_uid, st.st_gid, st.st_mtime_ns) == (5, 6, 123)
    assert os.stat(d + "/target").st_uid == 0
    os.unlink(d + "/link")
    assert read(d + "/target") == b"seen"
    os.symlink("loop", d + "/loop")
    raises(errno.ELOOP, os.stat, d + "/loop")


def test_special(place):
    def fill(d):
        os.mkfifo(d + "/fifo")
        os.mknod(d + "/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(d + "/plain", stat.S_IFREG | 0o600)
    d = place.make(fill)

    def child():
        write(d + "/fifo", b"through a pipe")

    t = threading.Thread(target=child)
    t.start()
    assert read(d + "/fifo") == b"through a pipe"
    t.join()
    st = os.lstat(d + "/null")
    assert stat.S_ISCHR(st.st_mode) and st.st_rdev == os.makedev(1, 3)
    raises(errno.EACCES, os.open, d + "/null", os.O_RDONLY)     # nodev
    assert read(d + "/plain") == b""
    s = socket.socket(socket.AF_UNIX)
    cwd = os.getcwd()
    os.chdir(d)
    try:
        s.bind("sock")
        s.listen()
        c = socket.socket(socket.AF_UNIX)
        c.connect("sock")
        c.close()
    finally:
        os.chdir(cwd)
        s.close()
    assert stat.S_ISSOCK(os.lstat(d + "/sock").st_mode)


def test_directories(place):
    def fill(d):
        os.mkdir(d + "/a")
        os.mkdir(d + "/a/b")
        write(d + "/a/f", b"x")
    d = place.make(fill)
    assert os.stat(d).st_nlink in (1, 3)
    raises(errno.ENOTEMPTY, os.rmdir, d + "/a")
    raises(errno.EISDIR, os.unlink, d + "/a")
    raises(errno.ENOTDIR, os.rmdir, d + "/a/f")
    raises(errno.EEXIST, os.mkdir, d + "/a")
    raises(errno.EEXIST, os.mkdir, d + "/a/f")
    raises(errno.ENOENT, os.mkdir, d + "/x/y")
    raises(errno.EINVAL, os.rmdir, d + "/a/.")
    raises(errno.ENOTEMPTY, os.rmdir, d + "/a/b/..")
    before = os.stat(d + "/a").st_mtime_ns
    time.sleep(0.02)
    os.rmdir(d + "/a/b")
    assert os.stat(d + "/a").st_mtime_ns > before
    os.unlink(d + "/a/f")
    os.rmdir(d + "/a")
    assert os.listdir(d) == []
    os.mkdir(d + "/a", 0o777)
    assert stat.S_IMODE(os.stat(d + "/a").st_mode) == 0o755
    cwd = os.getcwd()
    os.chdir(d + "/a")
    try:
        os.mkdir("inner")
        assert os.path.realpath("..") == os.path.realpath(d)
        assert os.stat("..").st_ino == os.stat(d).st_ino
        assert os.getcwd() == os.path.realpath(d) + "/a"
    finally:
        os.chdir(cwd)


def test_readdir_while_deleting(place):
    n = 5000
    def fill(d):
        for i in range(n):
            write(f"{d}/{i:05}", b"")
    d = place.make(fill)
    # In step with the listing, some new ones in between.
    seen = set()
    with os.scandir(d) as entries:
        for i, e in enumerate(entries):
            assert e.name not in seen
            seen.add(e.name)
            if not e.name.startswith("new"):
                os.unlink(e.path)
            if i % 100 == 0:
                write(f"{d}/new{i}", b"x")
    assert {f"{i:05}" for i in range(n)} <= seen
    assert all(x.startswith("new") for x in os.listdir(d))
    os.mkdir(d + "/again")
    for i in range(n):
        write(f"{d}/again/{i}", b"")
    subprocess.run(["rm", "-rf", d + "/again"], check=True)
    assert not os.path.exists(d + "/again")


def test_seekdir(place):
    """Who stops and goes on, or starts again, misses nothing that was there
    all the time."""
    def fill(d):
        for i in range(2000):
            write(f"{d}/{i:05}", b"")
    d = place.make(fill)
    with opened(d, os.O_RDONLY | os.O_DIRECTORY) as fd:
        first = os.listdir(fd)
        for i in range(0, 2000, 2):
            os.unlink(f"{d}/{i:05}")
        for i in range(500):
            write(f"{d}/n{i}", b"")
        os.lseek(fd, 0, os.SEEK_SET)
        second = os.listdir(fd)
    assert len(first) == len(set(first)) == 2000
    assert len(second) == len(set(second)) == 1500
    assert sorted(second) == sorted(os.listdir(d))


# Syncing, the rest.

def test_fsync(place):
    """What was synced is there after the daemon was killed."""
    d = place.make(lambda d: write(d + "/f", b"before"))
    with opened(d + "/f", os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b" and after")
        os.fsync(fd)
        os.fdatasync(fd)
    write(d + "/new", b"new file")
    os.rename(d + "/new", d + "/named")
    with opened(d + "/named", os.O_RDONLY) as fd:
        os.fsync(fd)
    with opened(d, os.O_RDONLY) as fd:
        os.fsync(fd)
    with opened(d + "/sync", os.O_CREAT | os.O_WRONLY | os.O_SYNC) as fd:
        os.write(fd, b"at once")
    os.sync()
    place.m.kill()
    place.m = place.site.mount()
    d = place.m / GROUP + "/current/data"
    assert read(d + "/f") == b"before and after"
    assert read(d + "/named") == b"new file"
    assert read(d + "/sync") == b"at once"
    assert sorted(os.listdir(d)) == ["f", "named", "sync"]


def test_tmpfile(place):
    """A file without a name, or a clean refusal."""
    d = place.make()
    try:
        fd = os.open(d, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError as e:
        assert e.errno in (errno.EOPNOTSUPP, errno.EISDIR)
        return
    os.write(fd, b"without a name")
    link_open(fd, d + "/named")
    os.close(fd)
    assert read(d + "/named") == b"without a name"


def test_statfs(place):
    d = place.make()
    s = os.statvfs(d)
    assert s.f_bavail > 0 and s.f_bfree >= s.f_bavail
    assert s.f_blocks >= s.f_bfree and s.f_namemax == 255
    assert s.f_ffree > 0
    assert not s.f_flag & os.ST_RDONLY


def test_copy_range(place):
    data = pbsgen.noise(3 * MIB, 4)
    d = place.make(lambda d: write(d + "/f", data))
    with opened(d + "/f", os.O_RDONLY) as a, \
            opened(d + "/g", os.O_CREAT | os.O_RDWR) as b:
        n = 0
        while n < len(data):
            got = os.copy_file_range(a, b, len(data) - n)
            assert got > 0
            n += got
        os.sendfile(b, a, 0, 100)
    assert read(d + "/g") == data + data[:100]
    subprocess.run(["cp", "--reflink=auto", d + "/f", d + "/h"], check=True)
    assert read(d + "/h") == data


def test_inodes_over_publish(place):
    """Numbers of what somebody holds stay; programs go on as if nothing had
    happened."""
    def fill(d):
        os.mkdir(d + "/sub")
        for n in ("a", "b", "sub/c"):
            write(f"{d}/{n}", n.encode() * 1000)
        os.link(d + "/a", d + "/sub/a2")
    d = place.make(fill)
    names = [d, d + "/a", d + "/b", d + "/sub", d + "/sub/c", d + "/sub/a2"]
    held = [os.open(n, os.O_RDONLY) for n in names]
    w = open(d + "/b", "r+b", buffering=0)
    cwd = os.getcwd()
    os.chdir(d + "/sub")
    try:
        ino = [os.stat(n).st_ino for n in names]
        for i in range(3):
            w.seek(i)
            w.write(b"W")
            writing.publish(place.m)
            w.seek(10 + i)
            w.write(b"X")
            assert [os.stat(n).st_ino for n in names] == ino
            assert [os.fstat(f).st_ino for f in held] == ino
            assert os.getcwd() == os.path.realpath(d) + "/sub"
            assert read("c") == b"sub/c" * 1000
            write("made%d" % i, b"here")
        assert os.pread(held[2], 13, 0) == b"WWWbbbbbbbXXX"
    finally:
        os.chdir(cwd)
        w.close()
        for f in held:
            os.close(f)


def test_publish_while_writing(place):
    """Writers are held up, not failed; each snapshot is one moment."""
    d = place.make(lambda d: write(d + "/log", b""))
    stop = threading.Event()
    errors = []

    def work():
        try:
            i = 0
            with open(d + "/log", "ab", buffering=0) as f:
                while not stop.is_set():
                    f.write(b"%08d\n" % i)
                    write(d + "/count", b"%08d" % i)
                    i += 1
        except OSError as e:
            errors.append(e)

    t = threading.Thread(target=work)
    t.start()
    snaps = []
    for _ in range(5):
        time.sleep(0.05)
        snaps.append(writing.publish(place.m))
    stop.set()
    t.join()
    assert not errors
    last = b""
    for s in snaps:
        log = read(place.m / s + "/data/log")
        assert log.startswith(last) and len(log) % 9 == 0
        lines = log.splitlines()
        assert lines == [b"%08d" % i for i in range(len(lines))]
        last = log
    assert read(d + "/log").startswith(last)


def test_busy(place):
    """Many at once, in one directory."""
    d = place.make(lambda d: [write(f"{d}/f{i}", b"x") for i in range(20)])
    errors = []

    def work(n):
        r = random.Random(n)
        try:
            for i in range(150):
                a, b = (f"{d}/f{r.randrange(30)}" for _ in range(2))
                op = r.randrange(5)
                with contextlib.suppress(FileNotFoundError,
                                         FileExistsError):
                    if op == 0:
                        os.rename(a, b)
                    elif op == 1:
                        write(a, b"%d" % i)
                    elif op == 2:
                        os.unlink(a)
                    elif op == 3:
                        os.link(a, b)
                    else:
                        os.listdir(d)
                        os.stat(a)
        except OSError as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
