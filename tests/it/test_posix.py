# SPDX-License-Identifier: GPL-3.0-or-later
"""
What programs may do in an open snapshot, on files that are new and on those
of the snapshot before.  At the end of each test what is there is published
and compared with what another host sees of it.
"""
import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import random
import socket
import stat
import subprocess
import threading
import time

import pytest

from pbs3fs_test import listing, pbsgen, trees, writing
from pbs3fs_test.trees import EXCHANGE, MIB, NOREPLACE, overwrite, raises, \
    renameat2, write

GROUP = "host/web1"
USER, OTHER = 1000, 1001
libc = ctypes.CDLL(None, use_errno=True)
FALLOC_KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO, INSERT, UNSHARE = \
    1, 2, 8, 16, 32, 64


class Place:
    """A directory in an open snapshot; what fill() makes there is new, or of
    the snapshot that the open one began as."""
    def __init__(self, tmp, base):
        self.store = os.path.join(tmp, "store")
        os.makedirs(self.store + "/.chunks")
        self.site = writing.Site(self.store, tmp, ["allow-other"])
        self.base = base
        self.m = None

    def make(self, fill=lambda d: None):
        m = self.site.mount()
        d = writing.begin(m) + "/data"
        os.mkdir(d)
        os.chmod(d, 0o755)
        fill(d)
        if self.base:
            writing.publish(m)
            m.stop()
            self.site.forget_host()
            m = self.site.mount()
            d = writing.begin(m) + "/data"
        self.m = m
        return d

    def finish(self):
        """Publishes, and compares."""
        if self.m is None or self.m.proc.poll() is not None:
            return
        top = self.m / GROUP + "/current"
        want = writing.contents(top)
        snap = writing.publish(self.m)
        writing.same(want, writing.contents(self.m / snap), "published")
        writing.same(want, writing.contents(top), "after publishing")
        assert self.m.errors() == ""
        self.m.stop()
        self.site.forget_host()
        m = self.site.mount(mode="ro")
        writing.same(want, writing.contents(m / snap), "afresh")
        m.stop()


@pytest.fixture(params=["new", "base"])
def place(request, tmp):
    p = Place(tmp, request.param == "base")
    yield p
    try:
        p.finish()
    finally:
        p.site.stop(check=False)


def as_user(uid, fn, *args, groups=(), umask=0o022):
    """What fn gives as that user; its OSError is raised here."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            os.close(r)
            os.setgroups(list(groups))
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.umask(umask)
            try:
                out = fn(*args)
                os.write(w, (out if isinstance(out, bytes)
                             else str(out).encode())[:4096])
                code = 0
            except OSError as e:
                code = e.errno
        finally:
            os._exit(code)
    os.close(w)
    out = b""
    while chunk := os.read(r, 4096):
        out += chunk
    os.close(r)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code != 255, "it failed otherwise"
    if code:
        raise OSError(code, os.strerror(code))
    return out


def read(path):
    with open(path, "rb") as f:
        return f.read()


@contextlib.contextmanager
def opened(path, flags, mode=0o644):
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def link_open(fd, path):
    """Gives an open file a name; os.link does not follow /proc."""
    r = libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, os.fsencode(path),
                    0x400)
    if r < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


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


# Locks, syncing, the rest.

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
