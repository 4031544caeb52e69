# SPDX-License-Identifier: GPL-3.0-or-later
"""How the kernel and a writable mount get along: what it caches of current/,
who may write, and waiting that does not hold up others."""
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from pbs3fs_test import pbsgen, writing
from pbs3fs_test.mount import run, wait_for
from pbs3fs_test.paths import SLOW

GROUP = "host/web1"
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def site(tmp):
    store = os.path.join(tmp, "store")
    os.makedirs(store + "/.chunks")
    s = writing.Site(store, tmp)
    yield s
    s.stop(check=False)


@pytest.fixture
def top(site):
    """A directory in current/."""
    m = site.mount("allow_other")
    path = writing.begin(m) + "/data"
    os.mkdir(path)
    os.chmod(path, 0o777)
    yield path
    m.stop()


def refused(number, fn, *args, **kw):
    with pytest.raises(OSError) as e:
        fn(*args, **kw)
    assert e.value.errno == number, os.strerror(e.value.errno)


def put(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    os.write(fd, data)
    os.close(fd)
    return path


def get(path):
    with open(path, "rb") as f:
        return f.read()


def renameat2(old, new, flags):
    r = LIBC.renameat2(-100, old.encode(), -100, new.encode(), flags)
    if r != 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def as_user(code, user=1000, **kw):
    return subprocess.run(
        ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
         sys.executable, "-c", code], stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, **kw)


def test_what_the_kernel_remembers(top):
    """Each change is seen at once under every name."""
    a = put(top + "/a", b"one")
    os.link(a, top + "/b")
    assert os.stat(a).st_nlink == os.stat(top + "/b").st_nlink == 2
    with open(top + "/b", "ab") as f:
        f.write(b" two")
    assert get(a) == b"one two" and os.stat(a).st_size == 7
    os.chmod(top + "/b", 0o600)
    assert stat.S_IMODE(os.stat(a).st_mode) == 0o600
    os.utime(a, ns=(5, 1234567890123456789))
    assert os.stat(top + "/b").st_mtime_ns == 1234567890123456789
    os.unlink(a)
    refused(errno.ENOENT, os.stat, a)
    assert os.stat(top + "/b").st_nlink == 1
    put(a, b"new")
    assert get(a) == b"new" and get(top + "/b") == b"one two"
    refused(errno.ENOENT, os.stat, top + "/later")
    put(top + "/later")
    assert os.path.exists(top + "/later")
    before = os.stat(top)
    os.mkdir(top + "/sub")
    after = os.stat(top)
    assert after.st_mtime_ns > before.st_mtime_ns
    os.rename(top + "/sub", top + "/sub2")
    assert not os.path.exists(top + "/sub")
    assert sorted(os.listdir(top)) == ["a", "b", "later", "sub2"]


def test_open_files_without_a_name(top):
    fd = os.open(put(top + "/f", b"data"), os.O_RDWR)
    os.unlink(top + "/f")
    put(top + "/f", b"other")
    os.pwrite(fd, b"more", 4)
    assert os.pread(fd, 100, 0) == b"datamore"
    assert os.fstat(fd).st_nlink == 0
    os.ftruncate(fd, 2)
    os.fsync(fd)
    assert os.fstat(fd).st_size == 2
    os.close(fd)
    assert get(top + "/f") == b"other"
    d = os.open(top, os.O_RDONLY)
    put(top + "/g", b"g")
    os.rename(top + "/g", top + "/f")
    os.fsync(d)
    os.close(d)
    assert get(top + "/f") == b"g"


def test_rename_flags(top):
    put(top + "/a", b"a")
    put(top + "/b", b"b")
    refused(errno.EEXIST, renameat2, top + "/a", top + "/b", 1)
    renameat2(top + "/a", top + "/b", 2)
    assert get(top + "/a") == b"b" and get(top + "/b") == b"a"
    renameat2(top + "/a", top + "/c", 1)
    assert sorted(os.listdir(top)) == ["b", "c"]
    refused(errno.EINVAL, renameat2, top + "/b", top + "/c", 4)
    os.mkdir(top + "/d")
    os.mkdir(top + "/d/e")
    refused(errno.EINVAL, os.rename, top + "/d", top + "/d/e/f")
    refused(errno.EISDIR, os.rename, top + "/b", top + "/d")
    refused(errno.ENOTDIR, os.rename, top + "/d", top + "/b")
    put(top + "/d/x")
    os.mkdir(top + "/e")
    refused(errno.ENOTEMPTY, os.rename, top + "/e", top + "/d")
    refused(errno.ENOTEMPTY, os.rmdir, top + "/d")


def test_kinds(top):
    os.mkfifo(top + "/fifo", 0o640)
    os.mknod(top + "/dev", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    s = os.lstat(top + "/dev")
    assert stat.S_ISCHR(s.st_mode) and s.st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO(os.lstat(top + "/fifo").st_mode)
    os.symlink("x" * 4000, top + "/link")
    assert os.readlink(top + "/link") == "x" * 4000
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(top + "/sock")
    assert stat.S_ISSOCK(os.lstat(top + "/sock").st_mode)
    put(top + "/" + "n" * 255)
    refused(errno.ENAMETOOLONG, put, top + "/" + "n" * 256)
    odd = os.fsencode(top) + b"/\xff\xfe \n"
    with open(odd, "wb"):
        pass
    assert b"\xff\xfe \n" in os.listdir(os.fsencode(top))


def test_umask_and_setgid(top):
    """The umask counts, but not where a directory has a default ACL."""
    old = os.umask(0o027)
    try:
        put(top + "/f", mode=0o666)
        os.mkdir(top + "/d", 0o777)
        assert stat.S_IMODE(os.stat(top + "/f").st_mode) == 0o640
        assert stat.S_IMODE(os.stat(top + "/d").st_mode) == 0o750
        subprocess.run(["setfacl", "-d", "-m", "u:1234:rw,g::rwx,o::r",
                        top + "/d"], check=True)
        put(top + "/d/f", mode=0o666)
        assert stat.S_IMODE(os.stat(top + "/d/f").st_mode) == 0o664
        acl = subprocess.run(["getfacl", "-nc", top + "/d/f"], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        assert "user:1234:rw-" in acl
    finally:
        os.umask(old)
    os.chown(top + "/d", 0, 4321)
    os.chmod(top + "/d", 0o2775)
    put(top + "/d/g")
    os.mkdir(top + "/d/e")
    assert os.stat(top + "/d/g").st_gid == 4321
    assert os.stat(top + "/d/e").st_gid == 4321
    assert os.stat(top + "/d/e").st_mode & stat.S_ISGID


def test_who_may(top):
    """Owners, modes and ACLs are checked by the kernel."""
    put(top + "/root", b"secret", 0o600)
    p = as_user(f"open({top + '/root'!r})")
    assert "PermissionError" in p.stderr
    subprocess.run(["setfacl", "-m", "u:1000:r", top + "/root"], check=True)
    assert as_user(f"open({top + '/root'!r})").returncode == 0
    code = f"import os; os.mkdir({top!r} + '/mine'); " \
        f"open({top!r} + '/mine/f', 'w').write('x')"
    assert as_user(code).returncode == 0
    s = os.stat(top + "/mine/f")
    assert (s.st_uid, s.st_gid) == (1000, 1000)
    os.chmod(top, 0o1777)
    p = as_user(f"import os; os.unlink({top + '/root'!r})")
    assert "PermissionError" in p.stderr or "not permitted" in p.stderr
    p = as_user(f"import os; os.chown({top + '/mine/f'!r}, 0, 0)")
    assert "not permitted" in p.stderr


def test_set_id_goes_with_a_write(top):
    f = put(top + "/f", b"x")
    os.chmod(f, 0o6777)
    assert as_user(f"open({f!r}, 'a').write('y')").returncode == 0
    assert stat.S_IMODE(os.stat(f).st_mode) == 0o777
    os.chmod(f, 0o6777)
    os.chown(f, 1000, 1000)
    assert stat.S_IMODE(os.stat(f).st_mode) == 0o777


def test_direct(top):
    data = pbsgen.noise(1 << 20, 1)
    buf = mmap.mmap(-1, 1 << 20)
    buf.write(data)
    fd = os.open(top + "/f", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644)
    assert os.pwrite(fd, buf, 4096) == 1 << 20
    back = mmap.mmap(-1, 1 << 20)
    assert os.preadv(fd, [back], 4096) == 1 << 20
    assert back[:] == data
    os.close(fd)
    assert get(top + "/f") == bytes(4096) + data


def test_shared_mapping(top):
    f = put(top + "/f", bytes(1 << 20))
    with open(f, "r+b") as h, mmap.mmap(h.fileno(), 1 << 20) as m:
        m[5000:5005] = b"hello"
        m.flush()
        assert get(f)[4998:5007] == b"\0\0hello\0\0"
        m[9000:9003] = b"end"
    assert get(f)[9000:9003] == b"end"
    with open(f, "r+b") as h:
        os.pwrite(h.fileno(), b"HELLO", 5000)
        with mmap.mmap(h.fileno(), 1 << 20) as m:
            assert m[5000:5005] == b"HELLO"
            os.pwrite(h.fileno(), b"again", 5000)
            assert m[5000:5005] == b"again"


def test_locks(top):
    f = put(top + "/f")
    with open(f, "r+b") as a, open(f, "r+b") as b:
        fcntl.flock(a, fcntl.LOCK_EX)
        refused(errno.EAGAIN, fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(a, fcntl.LOCK_UN)
        fcntl.lockf(a, fcntl.LOCK_EX, 10, 0)
        p = subprocess.run(
            [sys.executable, "-c", "import fcntl,sys\n"
             f"f = open({f!r}, 'r+b')\n"
             "fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)"],
            stderr=subprocess.PIPE, text=True)
        assert "BlockingIOError" in p.stderr


def test_append_of_many(top):
    """Nothing that two processes append is lost."""
    f = put(top + "/f")
    code = f"import os\nfd = os.open({f!r}, os.O_WRONLY | os.O_APPEND)\n" \
        "for i in range(300):\n    os.write(fd, b'%7d\\n' % i)\n"
    many = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    for p in many:
        assert p.wait() == 0
    lines = get(f).split()
    assert len(lines) == 1200
    assert sorted(lines) == sorted(b"%d" % i for i in range(300)
                                   for _ in range(4))


def test_holes(top):
    f = put(top + "/f")
    fd = os.open(f, os.O_RDWR)
    os.ftruncate(fd, 64 << 20)
    os.pwrite(fd, b"x" * 8192, 32 << 20)
    data = os.lseek(fd, 0, os.SEEK_DATA)
    assert (32 << 20) - (4 << 20) <= data <= 32 << 20
    assert os.lseek(fd, 32 << 20, os.SEEK_HOLE) >= (32 << 20) + 8192
    assert os.fstat(fd).st_blocks * 512 < 16 << 20
    os.posix_fallocate(fd, 0, 80 << 20)
    assert os.fstat(fd).st_size == 80 << 20
    # PUNCH_HOLE | KEEP_SIZE
    assert LIBC.fallocate(fd, 3, ctypes.c_long(32 << 20),
                          ctypes.c_long(8192)) == 0
    assert os.pread(fd, 8192, 32 << 20) == bytes(8192)
    os.close(fd)


def test_xattrs(top):
    f = put(top + "/f")
    os.setxattr(f, "user.a", b"1")
    refused(errno.EEXIST, os.setxattr, f, "user.a", b"2", os.XATTR_CREATE)
    refused(errno.ENODATA, os.setxattr, f, "user.b", b"2", os.XATTR_REPLACE)
    os.setxattr(f, "trusted.t", b"\0bin\xff")
    os.setxattr(f, "user.big", b"v" * 60000)
    assert os.getxattr(f, "trusted.t") == b"\0bin\xff"
    assert sorted(os.listxattr(f)) == ["trusted.t", "user.a", "user.big"]
    os.removexattr(f, "user.a")
    refused(errno.ENODATA, os.getxattr, f, "user.a")


def test_many_names(top):
    """Listing while names come and go; each that stays is seen once."""
    for i in range(3000):
        put(f"{top}/keep-{i:04}")
    seen = []
    with os.scandir(top) as it:
        for n, e in enumerate(it):
            seen.append(e.name)
            if n % 100 == 0:
                put(f"{top}/new-{n}")
                os.unlink(f"{top}/new-{n}")
    keep = sorted(n for n in seen if n.startswith("keep"))
    assert keep == [f"keep-{i:04}" for i in range(3000)]
    out = subprocess.run(["ls", "-l", top], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    assert len(out.splitlines()) == 3001
    subprocess.run(["rm", "-r", top], check=True)
    os.mkdir(top)



@pytest.fixture
def slow(tmp):
    """A mount whose chunks take two seconds each to store."""
    faults = os.path.join(tmp, "faults")
    with open(faults, "w") as f:
        f.write("put .chunks/* delay=2000\n")
    store = os.path.join(tmp, "store")
    os.makedirs(store + "/.chunks")
    s = writing.Site(store, tmp)
    yield s, f"fault={faults}"
    s.stop(check=False)


def start_publishing(m, name):
    """A process that does; known to be at it."""
    p = subprocess.Popen(["mkdir", m / f"{GROUP}/{name}"],
                         stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(g["publishing"] for g in
                         m.status()["writing"]["groups"]), 10,
             "publishing to begin")
    return p


def test_others_go_on(slow):
    """While a snapshot is published one reads, and another group is
    written."""
    site, opt = slow
    m = site.mount(opt)
    top = writing.begin(m)
    put(top + "/one.img", pbsgen.noise(20 << 20, 1))
    other = writing.begin(m, "host/other")
    name = writing.stamp()
    p = start_publishing(m, name)
    began = time.monotonic()
    assert len(get(top + "/one.img")) == 20 << 20
    put(other + "/f", b"x")
    # The kernel keeps others from listing a directory in which one is being
    # made, but not from what is in it.
    os.listdir(top)
    assert time.monotonic() - began < 10 * SLOW
    assert p.poll() is None

    # Those of this one may have to wait, however many there are.
    def write(i):
        put(f"{top}/w{i}", b"late")

    threads = [threading.Thread(target=write, args=(i,)) for i in range(20)]
    for t in threads:
        t.start()
    time.sleep(0.3)
    assert len(get(top + "/one.img")) == 20 << 20
    assert p.wait(60) == 0
    for t in threads:
        t.join(30)
    snap = m / f"{GROUP}/{name}"
    assert len(get(snap + "/one.img")) == 20 << 20
    for n in os.listdir(snap):
        assert not n.startswith("w") or get(f"{snap}/{n}") in (b"", b"late")
    assert all(get(f"{top}/w{i}") == b"late" for i in range(20))
    m.stop()


def test_interrupted(slow):
    """A signal ends the waiting for a snapshot, and nothing else."""
    site, opt = slow
    m = site.mount(opt)
    top = writing.begin(m)
    put(top + "/one.img", pbsgen.noise(20 << 20, 2))
    name = writing.stamp()
    p = start_publishing(m, name)
    p.send_signal(signal.SIGINT)
    began = time.monotonic()
    p.wait(10)
    assert time.monotonic() - began < 10 * SLOW
    wait_for(lambda: os.path.isdir(m / f"{GROUP}/{name}"), 60, "a snapshot")
    assert os.readlink(m / f"{GROUP}/latest") == name
    assert os.listdir(m / GROUP).count(name) == 1
    m.stop()


def test_ending_while_publishing(slow):
    """SIGTERM lets it finish; the mount is gone at once."""
    site, opt = slow
    m = site.mount(opt)
    top = writing.begin(m)
    put(top + "/one.img", pbsgen.noise(20 << 20, 3))
    name = writing.stamp()
    p = start_publishing(m, name)
    m.proc.send_signal(signal.SIGTERM)
    p.wait(60)
    assert m.proc.wait(60) == 0
    m = site.mount(mode="ro")
    assert len(get(m / f"{GROUP}/{name}/one.img")) == 20 << 20
    m.stop()


def test_umount_publishes(slow):
    """What would have been published later is published by then."""
    site, opt = slow
    m = site.mount(opt, "snapshot-idle=1h")
    top = writing.begin(m)
    put(top + "/one.img", pbsgen.noise(12 << 20, 4))
    run("umount", m.path)
    assert m.proc.wait(10) == 0
    m = site.mount(mode="ro")
    assert len(get(m / f"{GROUP}/latest/one.img")) == 12 << 20
    m.stop()
