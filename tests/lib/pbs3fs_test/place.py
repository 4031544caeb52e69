# SPDX-License-Identifier: GPL-3.0-or-later
"""Where tests of system calls work, and how they make them."""
import contextlib
import ctypes
import os

from . import writing

GROUP = "host/web1"
libc = ctypes.CDLL(None, use_errno=True)


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
