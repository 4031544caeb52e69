# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounting and unmounting, in all the ways administrators do it."""
import ctypes
import errno
import mmap
import os
import shutil
import signal
import stat
import subprocess
import threading
import time

import pytest

from conftest import need
from pbs3fs_test import check, listing
from pbs3fs_test.mount import is_mounted, run, wait_for
from pbs3fs_test.paths import BUILD, PBS3FS, SLOW

SNAP = "host/h1/2024-01-01T00:00:00Z"
VM = "vm/100/2024-01-01T00:00:00Z"
USER = 65534


@pytest.fixture
def ok(fx):
    return os.path.join(fx["damaged"], "ok")


@pytest.fixture
def opts(tmp):
    return [f"cache={tmp}/c", f"state={tmp}/s"]


@pytest.fixture
def mnt(tmp):
    """A mount point for mounts that outlive their command."""
    path = os.path.join(tmp, "mnt")
    os.mkdir(path)
    yield path
    while is_mounted(path):
        subprocess.run(["umount", "-l", path], check=True)


def daemon_of(path):
    """The pid of the daemon that serves a mount point."""
    for p in os.listdir("/proc"):
        if not p.isdigit():
            continue
        try:
            with open(f"/proc/{p}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if path.encode() in words and words[0].rpartition(b"/")[2] in (
                b"pbs3fs", b"mount.pbs3fs"):
            return int(p)
    return None


def gone(pid):
    return not os.path.exists(f"/proc/{pid}")


def test_background(ok, opts, mnt):
    """The command returns when the mount works, and umount ends it."""
    p = run("mount", ok, mnt, "-o", ",".join(["ro", *opts]))
    assert is_mounted(mnt)
    assert sorted(os.listdir(mnt + "/host/h1"))[-1] == "owner"
    pid = daemon_of(mnt)
    assert pid
    run("umount", mnt)
    assert not is_mounted(mnt)
    wait_for(lambda: gone(pid), 10, "the daemon to end")


def test_background_failure(tmp, mnt):
    """What goes wrong is told by the command that was called."""
    p = run("mount", f"{tmp}/nothing", mnt, "-o", f"ro,state={tmp}/s",
            check=False)
    assert p.returncode != 0
    assert f"{tmp}/nothing" in p.stderr
    assert not is_mounted(mnt)
    p = run("mount", mnt, f"{tmp}/no-mount-point", "-o", "ro", check=False)
    assert p.returncode != 0


def test_fusermount(ok, opts, mnt):
    run("mount", ok, mnt, "-o", ",".join(["ro", *opts]))
    pid = daemon_of(mnt)
    subprocess.run(["fusermount3", "-u", mnt], check=True)
    wait_for(lambda: gone(pid), 10, "the daemon to end")


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_signals(sig, ok, opts, mounts):
    m = mounts(ok, *opts)
    m.proc.send_signal(sig)
    assert m.proc.wait(10) == 0
    assert not is_mounted(m.path)


def test_signals_at_once(ok, opts, mnt):
    """Two signals while the mount is hardly there do not leave it hanging."""
    for i in range(60):
        p = subprocess.Popen(
            [PBS3FS, "mount", "-f", ok, mnt, "-o", ",".join(["ro", *opts])],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until = time.monotonic() + 30
            while not is_mounted(mnt) and time.monotonic() < wait_until:
                time.sleep(0.0002)
            for _ in range(2):
                time.sleep(0.0005 * (i % 6))
                p.send_signal(signal.SIGTERM)
            p.wait(20 * SLOW)
        finally:
            p.kill()
            p.wait()
        assert not is_mounted(mnt)


def test_hanging_daemon(ok, opts, mounts):
    """Commands do not wait for a daemon that does not answer."""
    m = mounts(ok, *opts)
    m.proc.send_signal(signal.SIGSTOP)
    try:
        for command in ("status", "refresh"):
            p = run(command, m.path, check=False, timeout=30)
            assert p.returncode == 4
            assert m.path in p.stderr
        run("umount", m.path, timeout=30)
        assert not is_mounted(m.path)
    finally:
        m.proc.send_signal(signal.SIGCONT)
    assert m.proc.wait(10 * SLOW) == 0


@pytest.fixture
def helper(scratch):
    """mount(8) finds mount.pbs3fs only in /sbin: put it there for a while."""
    to = "/sbin/mount.pbs3fs"
    need(os.path.lexists(os.path.join(BUILD, "mount.pbs3fs"))
         or os.path.exists(PBS3FS), "mount.pbs3fs")
    if os.path.lexists(to):
        os.unlink(to)
    os.symlink(PBS3FS, to)
    yield to
    os.unlink(to)


def test_mount_command(ok, opts, mnt, helper):
    subprocess.run(["mount", "-t", "pbs3fs", "-o",
                    ",".join(["ro", "_netdev", "nofail", *opts]), ok, mnt],
                   check=True)
    assert is_mounted(mnt)
    with open("/proc/mounts") as f:
        line, = [x.split() for x in f if x.split()[1] == mnt]
    assert line[0] == ok
    assert line[2] == "fuse.pbs3fs"
    subprocess.run(["umount", mnt], check=True)
    assert not is_mounted(mnt)


def test_fstab(ok, opts, mnt, helper, tmp):
    """An fstab line, mount -a, and umount by mount point."""
    table = os.path.join(tmp, "fstab")
    with open(table, "w") as f:
        f.write(f"{ok} {mnt} pbs3fs "
                f"ro,_netdev,nofail,x-systemd.automount,{','.join(opts)} "
                "0 0\n")
    subprocess.run(["mount", "-T", table, "-a"], check=True)
    assert is_mounted(mnt)
    assert os.path.isdir(os.path.join(mnt, SNAP, "root/etc"))
    # A second time changes nothing.
    subprocess.run(["mount", "-T", table, "-a"], check=True)
    with open("/proc/mounts") as f:
        assert sum(x.split()[1] == mnt for x in f) == 1
    subprocess.run(["umount", mnt], check=True)
    assert not is_mounted(mnt)


def test_as_user(ok, tmp):
    """A normal user mounts through fusermount3, and only for himself."""
    need(shutil.which("fusermount3"), "fusermount3")
    before = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", 0o666)
    home = os.path.join(tmp, "home")
    mnt = os.path.join(home, "mnt")
    os.makedirs(mnt)
    store = os.path.join(tmp, "store")
    subprocess.run(["cp", "-a", ok, store], check=True)
    for top in (home, store):
        subprocess.run(["chown", "-R", f"{USER}:{USER}", top], check=True)
    su = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    env = {"HOME": home, "PATH": os.environ["PATH"]}
    try:
        p = subprocess.run([*su, PBS3FS, "mount", store, mnt, "-o",
                            f"ro,cache={home}/c,state={home}/s"],
                           env=env, stderr=subprocess.PIPE, text=True)
        assert p.returncode == 0, p.stderr
        out = subprocess.run([*su, "cat", f"{mnt}/{VM}/qemu-server.conf"],
                             stdout=subprocess.PIPE, check=True).stdout
        assert out
        with pytest.raises(PermissionError):
            os.listdir(mnt)     # not even root, without allow_other
        subprocess.run([*su, PBS3FS, "umount", mnt], env=env, check=True)
        assert not is_mounted(mnt)
    finally:
        os.chmod("/dev/fuse", before)
        if is_mounted(mnt):
            subprocess.run(["umount", "-l", mnt])


def test_allow_other(ok, opts, mounts):
    m = mounts(ok, "allow_other", *opts)
    su = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    assert subprocess.run([*su, "ls", m / SNAP],
                          stdout=subprocess.PIPE).returncode == 0
    m = mounts(ok, *opts, f"cache={m.path}2c")
    assert subprocess.run([*su, "ls", m.path], stderr=subprocess.PIPE,
                          stdout=subprocess.PIPE).returncode != 0


def test_default_permissions(ok, opts, mounts):
    """The kernel keeps strangers out of what the archive keeps closed."""
    m = mounts(ok, "allow_other", "default_permissions", "umask=077", *opts)
    su = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    p = subprocess.run([*su, "cat", m / SNAP + "/root/etc/hostname"],
                       stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert p.returncode != 0


def test_identity(ok, opts, mounts):
    m = mounts(ok, "uid=1234", "gid=4321", "umask=027", *opts)
    for rel in ("", "host", SNAP, SNAP + "/root", SNAP + "/root/etc/hostname",
                VM + "/drive-scsi0.img"):
        st = os.lstat(m / rel)
        assert (st.st_uid, st.st_gid) == (1234, 4321), rel
        assert st.st_mode & 0o027 == 0, rel


def test_subdir(ok, opts, mounts):
    whole = mounts(ok, *opts)
    part = mounts(ok, f"subdir={SNAP}/root", *opts,
                  f"cache={whole.path}2c")
    want = listing.from_directory(whole / SNAP + "/root")
    listing.assert_same(want, listing.from_directory(part.path), "subdir")


def test_subdir_missing(ok, opts, mnt):
    p = run("mount", ok, mnt, "-o", ",".join(["ro", "subdir=host/no", *opts]),
            check=False)
    assert p.returncode != 0
    assert "host/no" in p.stderr


def test_fsname(ok, opts, mounts):
    m = mounts(ok, "fsname=backups", *opts)
    with open("/proc/mounts") as f:
        line, = [x.split() for x in f if x.split()[1] == m.path]
    assert line[0] == "backups"


def test_ignored_options(ok, opts, mounts):
    mounts(ok, "_netdev", "nofail", "noauto", "user", "x-systemd.automount",
           "auto", "dev", "suid", "exec", "noatime", *opts)


@pytest.mark.parametrize("wrong,right", [
    ("cache-sise=1G", "cache-size"), ("alow_other", "allow_other"),
    ("sub-dir=x", "subdir"), ("endpiont=x", "endpoint")])
def test_unknown_option(wrong, right, ok, mnt):
    p = run("mount", ok, mnt, "-o", f"ro,{wrong}", check=False)
    assert p.returncode == 2
    text = p.stderr.replace("_", "-")
    assert wrong.partition("=")[0].replace("_", "-") in text
    assert right.replace("_", "-") in text
    assert not is_mounted(mnt)


def inodes(top):
    out = {}
    for parent, dirs, files in os.walk(top):
        if parent.endswith("/.pbs3fs"):
            continue
        for n in dirs + files:
            path = os.path.join(parent, n)
            out[os.path.relpath(path, top)] = os.lstat(path).st_ino
    return out


def test_inodes(fx, mounts, tmp):
    """The same numbers after a remount, and each names one thing."""
    first = mounts(fx["plain"], f"cache={tmp}/c", f"state={tmp}/s")
    one = inodes(first.path)
    first.stop()
    second = mounts(fx["plain"], f"cache={tmp}/c2", f"state={tmp}/s2")
    assert inodes(second.path) == one
    names = {}
    for path, ino in one.items():
        names.setdefault(ino, []).append(path)
    for ino, paths in names.items():
        if len(paths) > 1:
            assert os.lstat(second / paths[0]).st_nlink >= len(paths), paths


class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int),
                ("data", ctypes.c_ubyte * 128)]


def handle_of(libc, path):
    h, mount_id = Handle(bytes=128), ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), ctypes.byref(h),
                              ctypes.byref(mount_id), 0):
        raise OSError(ctypes.get_errno(), "name_to_handle_at", path)
    return h


def by_handle(libc, mount_fd, h, flags=os.O_RDONLY):
    fd = libc.open_by_handle_at(mount_fd, ctypes.byref(h), flags)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "open_by_handle_at")
    return fd


def test_handles(ok, mounts, tmp):
    """What the kernel's NFS server does: a file by its handle alone, long
    after the kernel forgot its name, and after the daemon was restarted."""
    libc = ctypes.CDLL(None, use_errno=True)
    paths = [SNAP, SNAP + "/root/etc", SNAP + "/root/etc/hostname",
             VM + "/drive-scsi0.img", VM + "/qemu-server.conf",
             "host/h1/2024-01-02T00:00:00Z/root/var/log/big.log"]
    m = mounts(ok, f"cache={tmp}/c", f"state={tmp}/s")
    handles = {p: handle_of(libc, m / p) for p in paths}
    inos = {p: os.stat(m / p).st_ino for p in paths}
    for again in range(2):
        m.drop_caches()
        top = os.open(m.path, os.O_RDONLY | os.O_DIRECTORY)
        for p in paths:
            fd = by_handle(libc, top, handles[p])
            st = os.fstat(fd)
            assert st.st_ino == inos[p], p
            if stat.S_ISREG(st.st_mode):
                with open(m / p, "rb") as f:
                    assert os.pread(fd, 4096, 0) == f.read(4096)
            else:
                assert sorted(os.listdir(fd)) == sorted(os.listdir(m / p))
            os.close(fd)
        os.close(top)
        if not again:
            m.stop()
            m = mounts(ok, f"cache={tmp}/c", f"state={tmp}/s")


def test_directory_positions(ok, mounts, tmp):
    """telldir and seekdir: a listing goes on where it was, in a new open
    too, as an NFS client expects."""
    m = mounts(ok, f"cache={tmp}/c", f"state={tmp}/s")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = ctypes.c_void_p
    libc.readdir.restype = ctypes.c_void_p
    libc.readdir.argtypes = libc.telldir.argtypes = \
        libc.closedir.argtypes = [ctypes.c_void_p]
    libc.telldir.restype = ctypes.c_long
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
    path = (m / SNAP + "/root/etc").encode()

    def name(entry):
        # struct dirent: ino 8, off 8, reclen 2, type 1, then the name
        return ctypes.string_at(entry + 19)

    d = libc.opendir(path)
    seen = []
    while True:
        e = libc.readdir(d)
        if not e:
            break
        seen.append((name(e), libc.telldir(d)))
    libc.closedir(d)
    assert len(seen) == len(set(n for n, _ in seen)) == 35
    d = libc.opendir(path)
    for i in range(0, len(seen) - 1, 5):
        libc.seekdir(d, seen[i][1])
        assert name(libc.readdir(d)) == seen[i + 1][0]
    libc.closedir(d)


def test_kill(ok, opts, mounts):
    """After kill -9 a new mount reads everything; the cache is still good."""
    m = mounts(ok, *opts)
    failed, want = check.failures(m / "host")
    t = threading.Thread(target=lambda: check_quietly(m))
    t.start()
    m.proc.kill()
    t.join(20)
    m.kill()
    m = mounts(ok, *opts, name="again")
    assert check.failures(m / "host") == (failed, want)


def check_quietly(m):
    try:
        check.failures(m.path)
    except (OSError, AssertionError):
        pass


def test_kill_s3(bucket, mounts, tmp):
    """The same with a cache that was being written."""
    b = bucket("damaged/ok")
    o = [f"cache={tmp}/c", f"state={tmp}/s", *b.options()]
    for i in range(3):
        m = mounts(b.store, *o, name=f"k{i}")
        t = threading.Thread(target=check_quietly, args=(m,))
        t.start()
        t.join(0.05 * (i + 1))
        m.proc.kill()
        t.join(20)
        m.kill()
    m = mounts(b.store, *o)
    failed, _ = check.failures(m.path)
    assert failed == {}
    assert m.errors() == ""


def test_two_mounts_one_cache(bucket, mounts, tmp):
    b = bucket("damaged/ok")
    o = [f"cache={tmp}/c", f"state={tmp}/s", *b.options()]
    one, two = mounts(b.store, *o), mounts(b.store, *o)
    assert check.failures(one / "host") == check.failures(two / "host")


def test_statfs(ok, opts, mounts):
    m = mounts(ok, *opts)
    st = os.statvfs(m.path)
    assert 0 < st.f_blocks * st.f_frsize < 1 << 63
    assert st.f_files > 0
    assert st.f_namemax >= 255
    assert st.f_flag & os.ST_RDONLY
    fsid = st.f_fsid
    m.stop()
    m = mounts(ok, *opts)
    assert os.statvfs(m.path).f_fsid == fsid


def test_latest(ok, opts, mounts):
    m = mounts(ok, *opts)
    assert os.readlink(m / "host/h1/latest") == "2024-01-02T00:00:00Z"
    assert os.path.isfile(m / "host/h1/latest/root/etc/hostname")


def test_mmap_and_exec(ok, opts, mounts):
    """Shared read-only mappings work."""
    m = mounts(ok, *opts)
    with open(m / VM + "/drive-scsi0.img", "rb") as f:
        with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as mm:
            f.seek(5 << 20)
            assert mm[5 << 20:(5 << 20) + 4096] == f.read(4096)


def test_wrong_names(ok, opts, mounts):
    m = mounts(ok, *opts)
    for rel in ("no", "host/no", "host/h1/no", "host/h1/2024-01-01",
                SNAP + "/no", SNAP + "/root.pxar.didx", SNAP + "/root/no",
                SNAP + "/root/etc/" + "x" * 255, "vm/100/current"):
        with pytest.raises(OSError) as e:
            os.stat(m / rel)
        assert e.value.errno == errno.ENOENT, rel
    with pytest.raises(OSError) as e:
        os.stat(m / SNAP + "/root/etc/hostname/x")
    assert e.value.errno == errno.ENOTDIR
    with pytest.raises(OSError) as e:
        os.getxattr(m / SNAP + "/root/etc/hostname", "user.none")
    assert e.value.errno == errno.ENODATA
