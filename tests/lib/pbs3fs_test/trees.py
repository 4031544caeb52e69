# SPDX-License-Identifier: GPL-3.0-or-later
"""
A snapshot's worth of everything that the format holds, made by system calls:
once in a mount and once in a plain directory, which is what it must equal.
"""
import ctypes
import errno
import os
import stat
import struct
import time
import zlib

from . import listing, pbsgen

MIB = 1 << 20
CAP_NET_RAW = struct.pack("<IIIII", 0x02000001, 1 << 13, 1 << 13, 0, 0)

ODD_NAMES = [
    b" ", b"two words", b"new\nline", b"\xff\xfe invalid", b"-rf", b".hidden",
    b"..two", b"...", b"*", b"\\", b"'\"$(x)", "gr\u00fcn".encode(),
    "gru\u0308n".encode(), b"\x01\x7f", b"a:b%41", b"x" * 255,
    b"\xc3" + b"y" * 254, b"CON", b"trailing ", b"~", b"#x#",
]

# Seconds and nanoseconds that go wrong easily.
TIMES = [0, 1, -1, -10**9, -1_500_000_000, 999_999_999, -(30 * 365 * 86400) *
         10**9 + 123, 2**31 * 10**9 + 7, 2**32 * 10**9 + 999_999_999]


def acl(*entries):
    """The xattr of one: (tag, perm[, id]) in the order of tags."""
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", e[0], e[1], e[2] if len(e) > 2 else 0xffffffff)
        for e in entries)


L = listing
ACCESS = acl((L.USER_OBJ, 7), (L.USER, 5, 1000), (L.USER, 0, 70000),
             (L.GROUP_OBJ, 6), (L.GROUP, 4, 100), (L.MASK, 5), (L.OTHER, 1))
DEFAULT = acl((L.USER_OBJ, 7), (L.USER, 6, 1000), (L.GROUP_OBJ, 5),
              (L.GROUP, 7, 200), (L.MASK, 7), (L.OTHER, 0))
PLAIN_DEFAULT = acl((L.USER_OBJ, 7), (L.GROUP_OBJ, 5), (L.OTHER, 4))
MASK_ONLY = acl((L.USER_OBJ, 6), (L.GROUP_OBJ, 6), (L.MASK, 4), (L.OTHER, 0))

_libc = ctypes.CDLL(None, use_errno=True)


def renameat2(a, b, flags):
    r = _libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags)
    if r < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()),
                      os.fsdecode(b))


NOREPLACE, EXCHANGE = 1, 2


def write(path, data, mode="wb"):
    with open(path, mode) as f:
        f.write(data)


def overwrite(path, offset, data):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


def _files(t):
    os.mkdir(t)
    write(t + b"/empty", b"")
    write(t + b"/one", b"1")
    for n in (15, 4095, 4096, 4097, 131072, 300_001):
        write(t + b"/size-%d" % n, pbsgen.noise(n, n))
    write(t + b"/big", pbsgen.noise(9 * MIB + 5, 1))
    write(t + b"/text", b"all work and no play\n" * 60_000)
    with open(t + b"/zeros", "wb") as f:
        f.truncate(5 * MIB + 1)
    with open(t + b"/sparse", "wb") as f:
        f.seek(3 * MIB + 17)
        f.write(b"island")
        f.seek(6 * MIB)
        f.write(pbsgen.noise(70_000, 2))
        f.truncate(11 * MIB)
    for mode in (0, 0o400, 0o777, 0o4755, 0o2755, 0o6711, 0o1644):
        path = t + b"/mode-%04o" % mode
        write(path, b"x")
        os.chmod(path, mode)


def _types(t):
    os.mkdir(t)
    os.mkdir(t + b"/empty-dir")
    os.mkfifo(t + b"/fifo", 0o640)
    os.mknod(t + b"/socket", stat.S_IFSOCK | 0o755)
    os.mknod(t + b"/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(t + b"/disk", stat.S_IFBLK | 0o660, os.makedev(259, 1_000_000))
    os.mknod(t + b"/high", stat.S_IFCHR | 0o600, os.makedev(4095, 1_048_575))
    os.symlink(b"fifo", t + b"/link")
    os.symlink(b"/nothing/there", t + b"/dangling")
    os.symlink(b"\xff\xfe\n %s", t + b"/odd-link")
    os.symlink(b"../" * 1000 + b"far", t + b"/long-link")
    os.symlink(b".", t + b"/self")
    for i, (u, g) in enumerate([(1000, 100), (65534, 65534), (70_000, 0),
                                (2**31, 2**31 + 5), (2**32 - 2, 2**32 - 2)]):
        write(t + b"/owner-%d" % i, b"x")
        os.chown(t + b"/owner-%d" % i, u, g)
    os.lchown(t + b"/link", 1234, 4321)
    for i, mode in enumerate((0o700, 0o1777, 0o2775, 0)):
        os.mkdir(t + b"/dir-%d" % i)
        os.chmod(t + b"/dir-%d" % i, mode)


def _links(t):
    """The first name in archive order is the file, the others point back."""
    os.mkdir(t)
    for d in (b"a", b"m", b"z"):
        os.mkdir(t + b"/" + d)
    write(t + b"/m/made-here", pbsgen.noise(20_000, 31))
    os.link(t + b"/m/made-here", t + b"/m/after")
    os.link(t + b"/m/made-here", t + b"/m/zz")
    write(t + b"/z/last", b"made in the last directory")
    os.link(t + b"/z/last", t + b"/a/first")
    write(t + b"/a/one", b"made in the first directory")
    os.link(t + b"/a/one", t + b"/z/other")
    os.link(t + b"/a/one", t + b"/middle")
    write(t + b"/a/empty", b"")
    os.link(t + b"/a/empty", t + b"/m/empty")
    write(t + b"/m/attributes", b"x")
    os.setxattr(t + b"/m/attributes", "user.of", b"all names")
    os.link(t + b"/m/attributes", t + b"/0")


def _attributes(t):
    os.mkdir(t)
    write(t + b"/user", b"x")
    os.setxattr(t + b"/user", "user.empty", b"")
    os.setxattr(t + b"/user", "user.binary", bytes(range(256)))
    os.setxattr(t + b"/user", "user." + "n" * 250, b"longest name")
    os.setxattr(t + b"/user", "user.large", pbsgen.noise(2000, 3))
    write(t + b"/trusted", b"x")
    os.setxattr(t + b"/trusted", "trusted.one", b"1")
    os.setxattr(t + b"/trusted", "user.two", b"2")
    write(t + b"/capable", b"x")
    os.chmod(t + b"/capable", 0o755)
    os.setxattr(t + b"/capable", "security.capability", CAP_NET_RAW)
    os.mkdir(t + b"/dir")
    os.setxattr(t + b"/dir", "user.on", b"a directory")
    os.mkfifo(t + b"/fifo")
    os.setxattr(t + b"/fifo", "trusted.fifo", b"f")
    write(t + b"/acl", b"x")
    os.setxattr(t + b"/acl", listing.ACL_ACCESS, ACCESS)
    write(t + b"/mask", b"x")
    os.setxattr(t + b"/mask", listing.ACL_ACCESS, MASK_ONLY)
    os.mkdir(t + b"/both")
    os.setxattr(t + b"/both", listing.ACL_ACCESS, ACCESS)
    os.setxattr(t + b"/both", listing.ACL_DEFAULT, DEFAULT)
    old = os.umask(0o027)
    write(t + b"/both/inherits", b"x")
    os.mkdir(t + b"/both/inherits-too")
    os.mkfifo(t + b"/both/fifo", 0o600)
    os.mkdir(t + b"/default")
    os.setxattr(t + b"/default", listing.ACL_DEFAULT, PLAIN_DEFAULT)
    write(t + b"/default/inherits", b"x")
    os.umask(old)
    write(t + b"/everything", b"x")
    os.setxattr(t + b"/everything", "user.a", b"1")
    os.setxattr(t + b"/everything", listing.ACL_ACCESS, ACCESS)
    os.setxattr(t + b"/everything", "security.capability", CAP_NET_RAW)
    os.setxattr(t + b"/everything", "trusted.b", b"2")


def _names(t):
    os.mkdir(t)
    for i, name in enumerate(ODD_NAMES):
        write(t + b"/" + name, b"%d" % i)
    os.mkdir(t + b"/dir\nwith " + b"\xfe" * 20)
    write(t + b"/dir\nwith " + b"\xfe" * 20 + b"/\xfd", b"inside")
    os.link(t + b"/new\nline", t + b"/\xff\xff")
    os.symlink(b"x" * 255, t + b"/to-longest")
    # Hashes decide the order of the table of a directory.
    os.mkdir(t + b"/many")
    for i in range(1000):
        write(t + b"/many/%d" % (i * 7919 % 100_003), b"%d" % i)
    deep = t + b"/deep"
    os.mkdir(deep)
    for i in range(300):
        deep += b"/%d" % (i % 10)
        os.mkdir(deep)
    write(deep + b"/bottom", b"300 below")


def _times(t):
    os.mkdir(t)
    for i in range(len(TIMES)):
        write(t + b"/%d" % i, b"x")
        os.mkdir(t + b"/dir-%d" % i)
    os.symlink(b"0", t + b"/link")


def tree(t):
    t = os.fsencode(t)
    os.mkdir(t)
    _files(t + b"/files")
    _types(t + b"/types")
    _links(t + b"/links")
    _attributes(t + b"/attributes")
    _names(t + b"/names")
    _times(t + b"/times")
    os.chmod(t, 0o2751)
    os.chown(t, 33, 44)
    os.setxattr(t, "user.root", b"of the archive")


def tops(top):
    """Files beside the trees: images, streams, blobs."""
    write(top + "/first.img", pbsgen.noise(4 * MIB, 11) + bytes(4 * MIB) +
          pbsgen.noise(MIB + 513, 12))
    with open(top + "/zero.img", "wb") as f:
        f.truncate(9 * MIB)
    with open(top + "/holes.img", "wb") as f:
        f.seek(5 * MIB)
        f.write(b"in the second")
        f.truncate(17 * MIB + 25)
    write(top + "/tiny.img", b"not a multiple of 512 bytes")
    write(top + "/dump.sql", pbsgen.noise(21 * MIB + 1, 13))
    write(top + "/zeros", bytes(17 * MIB))
    write(top + "/one", b"1")
    write(top + "/job.conf", b"a: b\n" * 100)
    write(top + "/empty.conf", b"")
    write(top + "/noise.log", pbsgen.noise(100_000, 14))
    write(top + "/x.json", b"{}\n")
    write(top + "/my.key", b"\0" * 5000)


def everything(top):
    """Trees, one of them empty, and files of all kinds."""
    begun = time.time_ns()
    tree(top + "/root")
    os.mkdir(top + "/empty")
    os.mkdir(top + "/etc")
    write(top + "/etc/hosts", b"127.0.0.1 localhost\n")
    write(top + "/etc/passwd", b"root:x:0:0::/:/bin/sh\n")
    os.link(top + "/etc/hosts", top + "/etc/zhosts")
    tops(top)
    fix_times(top, begun)


def _paths(top):
    """All below it, and itself, the deepest first."""
    out, stack = [], [os.fsencode(top)]
    while stack:
        path = stack.pop()
        out.append(path)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            stack += [path + b"/" + n for n in os.listdir(path)]
    return reversed(out)


def fix_times(top, since):
    """
    What was changed since then gets times made of its path, so that two
    trees that were made alike at different times are alike.  (Clocks of files
    may lag behind by a tick.)
    """
    top = os.fsencode(top)
    for path in _paths(top):
        if path == top:
            continue
        st = os.lstat(path)
        rel = path[len(top):]
        if rel.startswith(b"/root/times/"):
            n = rel.rsplit(b"/")[-1].rpartition(b"-")[2]
            when = TIMES[int(n)] if n.isdigit() else -1
        elif st.st_mtime_ns < since - 10**8:
            continue
        elif st.st_nlink > 1 and stat.S_ISREG(st.st_mode):
            # Whichever of its names comes last.
            when = 10**18 + st.st_size
        else:
            when = zlib.crc32(rel) * 123_456_789 + len(rel)
        os.utime(path, ns=(0, when), follow_symlinks=False)


# Changes on top of what was published.

def _remove(path):
    for p in _paths(path):
        if stat.S_ISDIR(os.lstat(p).st_mode):
            os.rmdir(p)
        else:
            os.unlink(p)


def _change_names(r):
    os.rename(r + "/files", r + "/renamed-files")
    os.rename(r + "/names/many", r + "/many-moved")
    os.rename(r + "/names/deep/0/1", r + "/names/deeper")
    os.rename(r + "/types/dir-1", r + "/attributes/both/dir-1")
    os.rename(r + "/names/-rf", r + "/names/zz-rf")
    os.rename(r + "/types/null", r + "/types/fifo")
    renameat2(r + "/types/disk", r + "/types/empty-dir", EXCHANGE)
    renameat2(r + "/names/CON", r + "/names/con", NOREPLACE)
    os.rename(r + "/../etc/passwd", r + "/passwd-from-etc")
    _remove(r + "/types/dir-0")
    write(r + "/types/dir-0", b"now a file")
    os.unlink(r + "/types/link")
    os.mkdir(r + "/types/link")
    write(r + "/types/link/inner", b"x")
    os.unlink(r + "/names/\\")
    os.mkdir(r + "/names/\\")
    for i in range(0, 1000, 3):
        os.unlink(r + f"/many-moved/{i * 7919 % 100_003}")
    for i in range(50):
        write(r + f"/many-moved/new-{i}", b"%d" % i)


def _change_files(r):
    f = r + "/renamed-files"
    overwrite(f + "/big", 4 * MIB + 100, b"in the middle")
    overwrite(f + "/sparse", 8 * MIB, b"another island")
    overwrite(f + "/size-300001", 299_990, b"over the end of it, and further")
    write(f + "/text", b"appended\n", "ab")
    os.truncate(f + "/size-131072", 1000)
    os.truncate(f + "/zeros", 6 * MIB)
    os.truncate(f + "/size-4097", 0)
    write(f + "/size-15", b"replaced")
    os.chmod(f + "/one", 0o4700)
    os.chown(f + "/empty", 7, 8)
    os.utime(f + "/mode-0400", ns=(0, -12_345_678_901))
    os.chmod(r + "/renamed-files", 0o710)


def _change_links(r):
    k = r + "/links"
    os.unlink(k + "/a/first")               # the first name of two
    os.unlink(k + "/a/one")                 # the first of three
    os.link(k + "/m/zz", k + "/0-earlier")  # now the first
    os.link(r + "/renamed-files/size-4096", k + "/a/to-base")
    overwrite(k + "/m/after", 5, b"seen by all names")
    os.rename(k + "/m/empty", k + "/a/aa")
    os.chmod(k + "/0", 0o751)


def _change_attributes(r):
    a = r + "/attributes"
    os.setxattr(a + "/user", "user.new", b"n")
    os.setxattr(a + "/user", "user.binary", b"other")
    os.removexattr(a + "/user", "user.empty")
    os.removexattr(a + "/trusted", "trusted.one")
    os.removexattr(a + "/both", listing.ACL_DEFAULT)
    os.setxattr(a + "/mask", listing.ACL_ACCESS, ACCESS)
    os.removexattr(a + "/acl", listing.ACL_ACCESS)
    os.chmod(a + "/everything", 0o640)      # moves the mask
    os.setxattr(a + "/default", listing.ACL_DEFAULT, DEFAULT)
    os.setxattr(a + "/dir", "trusted.second", b"s")
    os.removexattr(r, "user.root")
    os.chmod(r, 0o750)


def change(top):
    """Of every kind, on top of everything()."""
    begun = time.time_ns()
    r = top + "/root"
    _change_names(r)
    _change_files(r)
    _change_links(r)
    _change_attributes(r)
    overwrite(top + "/first.img", 4 * MIB - 3, b"over a boundary")
    overwrite(top + "/zero.img", 8 * MIB + 7, b"x")
    os.truncate(top + "/tiny.img", 9 * MIB + 1)
    os.truncate(top + "/holes.img", 6 * MIB)
    overwrite(top + "/dump.sql", 10 * MIB, b"in the middle of it")
    write(top + "/one", b" and more" * 1000, "ab")
    os.rename(top + "/zeros", top + "/still-zeros")
    write(top + "/job.conf", b"c: d\n", "ab")
    os.unlink(top + "/x.json")
    os.rename(top + "/my.key", top + "/your.key")
    os.rename(top + "/empty", top + "/was-empty")
    write(top + "/was-empty/not-any-more", b"x")
    _remove(top + "/etc")
    fix_times(top, begun)


def change_again(top):
    """A second time: what was changed, and what lost its kind."""
    begun = time.time_ns()
    r = top + "/root"
    os.rename(r, top + "/other")
    r = top + "/other"
    os.rename(r + "/renamed-files", r + "/files")
    overwrite(r + "/files/big", 4 * MIB + 105, b"again")
    _remove(r + "/names")
    _remove(r + "/times")
    os.rename(r + "/types/dir-0", r + "/types/link/moved")
    renameat2(r + "/links/a", r + "/links/z", EXCHANGE)
    os.unlink(r + "/links/0-earlier")
    os.unlink(r + "/links/z/to-base")   # its other name stays here
    _remove(top + "/was-empty")
    write(top + "/was-empty", b"a stream now")
    os.unlink(top + "/still-zeros")
    os.mkdir(top + "/still-zeros")
    write(top + "/still-zeros/f", b"a tree now")
    os.mkdir(top + "/etc")
    write(top + "/etc/hosts", b"back again\n")
    # Whole directories of the base into other archives, links and all.
    os.rename(r + "/many-moved", top + "/etc/many")
    os.rename(r + "/links", top + "/links-apart")
    os.mkdir(top + "/etc/with")
    os.rename(r + "/attributes", top + "/etc/with/attributes")
    os.truncate(top + "/first.img", 4 * MIB)
    os.truncate(top + "/dump.sql", 3 * MIB)
    fix_times(top, begun)


def remove_all(top):
    for name in os.listdir(top):
        _remove(os.path.join(top, name))


def raises(number, fn, *args, **kw):
    """That fn fails so, and not otherwise."""
    try:
        fn(*args, **kw)
    except OSError as e:
        assert e.errno == number, f"{errno.errorcode[e.errno]}, not " \
            f"{errno.errorcode[number]}: {e}"
        return
    raise AssertionError(f"it did not fail with {errno.errorcode[number]}")
