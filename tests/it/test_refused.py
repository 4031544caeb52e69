# SPDX-License-Identifier: GPL-3.0-or-later
"""
What the format cannot hold may be there while a snapshot is open.  Publishing
says which it is and loses nothing; once that was mended it works.
"""
import errno
import os
import stat

import pytest

from pbs3fs_test import listing, pbsgen, trees, writing
from pbs3fs_test.mount import wait_for
from pbs3fs_test.trees import MIB, raises, write

GROUP = "host/web1"


@pytest.fixture
def site(tmp):
    store = os.path.join(tmp, "store")
    os.makedirs(store + "/.chunks")
    s = writing.Site(store, tmp)
    yield s
    s.stop(check=False)


def directory(path):
    os.mkdir(path)
    write(path + "/f", b"x")


def text(path):
    write(path, b"x")


def image(path):
    write(path, pbsgen.noise(MIB))


def empty(path):
    write(path, b"")


def big_blob(path):
    with open(path, "wb") as f:
        f.truncate(128 * MIB + 1)


def fifo(path):
    os.mkfifo(path)


def symlink(path):
    os.symlink("elsewhere", path)


def device(path):
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))


def socket(path):
    os.mknod(path, stat.S_IFSOCK | 0o600)


# Name, what makes it, and how the message shows the name.
CASES = [
    ("two words", text, None), ("-rf", directory, None),
    (".hidden", text, None), (".dir", directory, None),
    ("gr\u00fcn", text, ""), ("new\nline", text, "new"),
    ("a:b.img", image, None), ("x" * 255, text, None),
    ("y" * 250, directory, None), ("z" * 249 + ".img", image, None),
    ("index.json", text, None), ("catalog.pcat1", text, None),
    ("client.log", text, None), ("rsa-encrypted.key", text, None),
    ("root.pxar", text, None), ("root.mpxar", text, None),
    ("root.ppxar", text, None),
    ("empty.img", empty, None), ("empty", empty, None),
    ("big.conf", big_blob, None), ("fifo", fifo, None),
    ("link", symlink, None), ("device", device, None),
    ("socket", socket, None),
]
NAMES = [c[0][:20].replace("\n", "-") for c in CASES]


def fill(top):
    directory(top + "/root")
    image(top + "/disk.img")
    write(top + "/dump", pbsgen.noise(100_000, 2))
    write(top + "/job.conf", b"a: b\n")


def refused_here(m, group=GROUP):
    """Publishing fails; the log lines that it wrote."""
    before = len(m.log())
    raises(errno.EILSEQ, writing.publish, m, group)
    assert [n for n in os.listdir(m / group) if n.endswith("Z")] == \
        finished(m, group)
    return m.log()[before:]


def finished(m, group):
    path = m / group + "/latest"
    return [os.readlink(path)] if os.path.lexists(path) else []


@pytest.mark.parametrize("name, make, shown", CASES, ids=NAMES)
def test_one(name, make, shown, site):
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    make(f"{top}/{name}")
    said = refused_here(m)
    assert (name if shown is None else shown) in said, said
    assert "hint: " in said and "cannot publish" in said
    assert [n for n in os.listdir(m / GROUP) if n.endswith("Z")] == []
    # It is all there, over the end of the daemon as well.
    names = sorted(os.listdir(top))
    assert name in names and len(names) == 5
    m.stop()
    m = site.mount()
    top = writing.begin(m)
    assert sorted(os.listdir(top)) == names
    refused_here(m)
    # Moved into a directory it is a file like others.
    os.rename(f"{top}/{name}", f"{top}/root/{name}")
    want = writing.contents(top)
    snap = writing.publish(m)
    writing.same(want, writing.contents(m / snap))
    assert name in os.listdir(m / snap + "/root")
    m.stop()
    site.forget_host()
    m = site.mount(mode="ro")
    writing.same(want, writing.contents(m / snap))
    m.stop()


def test_all_at_once(site):
    """Each is named, as is what is wrong in a second snapshot."""
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    first = writing.publish(m)
    one = writing.contents(m / first)
    some = [c for c in CASES if c[2] is None][:18]
    for name, make, _ in some:
        make(f"{top}/{name}")
    said = refused_here(m)
    for name, _, _ in some:
        assert name in said, name
    for name, _, _ in some:
        os.rename(f"{top}/{name}", f"{top}/root/{name}")
    want = writing.contents(top)
    second = writing.publish(m)
    writing.same(want, writing.contents(m / second))
    writing.same(one, writing.contents(m / first))
    m.stop()


def test_too_many_to_name(site):
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    for i in range(50):
        write(f"{top}/bad {i}", b"x")
    said = refused_here(m)
    assert said.count("cannot publish") == 20
    assert "30 more" in said
    for i in range(50):
        os.unlink(f"{top}/bad {i}")
    writing.publish(m)
    m.stop()


def test_link_over_archives(site):
    """A file has its names in one archive."""
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    directory(top + "/etc")
    raises(errno.EXDEV, os.link, top + "/root/f", top + "/etc/f2")
    raises(errno.EXDEV, os.link, top + "/root/f", top + "/f2")
    raises(errno.EXDEV, os.link, top + "/dump", top + "/root/dump2")
    raises(errno.EPERM, os.link, top + "/dump", top + "/dump2")
    os.link(top + "/root/f", top + "/root/g")
    raises(errno.EXDEV, os.rename, top + "/root/g", top + "/etc/g")
    raises(errno.EXDEV, os.rename, top + "/root/g", top + "/g")
    os.unlink(top + "/root/f")
    os.rename(top + "/root/g", top + "/etc/g")
    want = writing.contents(top)
    snap = writing.publish(m)
    writing.same(want, writing.contents(m / snap))
    m.stop()


@pytest.mark.parametrize("base", [False, True], ids=["new", "base"])
def test_directory_with_links_moves(base, site):
    """With names outside of what moves into another archive."""
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    directory(top + "/root/sub")
    os.link(top + "/root/sub/f", top + "/root/outside")
    os.link(top + "/root/sub/f", top + "/root/sub/inside")
    directory(top + "/etc")
    if base:
        writing.publish(m)
        m.stop()
        m = site.mount()
        top = writing.begin(m)
    os.rename(top + "/root/sub", top + "/etc/sub")
    for name in ("root/outside", "etc/sub/f", "etc/sub/inside"):
        assert os.stat(f"{top}/{name}").st_nlink == 3
    write(top + "/root/outside", b"seen everywhere")
    assert listing.sha256_file(top + "/etc/sub/f") == \
        listing.sha256_file(top + "/root/outside")
    with open(top + "/etc/sub/f", "r+b") as held:
        snap = writing.publish(m)
        # An archive each: they are two files now, here as well.
        want = writing.contents(m / snap)
        assert want["etc"][b"/sub/f"]["links"] == [b"/sub/f", b"/sub/inside"]
        assert "links" not in want["root"][b"/outside"]
        assert want["root"][b"/outside"]["sha256"] == \
            want["etc"][b"/sub/f"]["sha256"]
        wait_for(lambda: os.stat(top + "/etc/sub/f").st_ino !=
                 os.stat(top + "/root/outside").st_ino, 10, "two files")
        writing.same(want, writing.contents(top), "current")
        held.write(b"SEEN")
    assert open(top + "/etc/sub/inside").read() == "SEEN everywhere"
    assert open(top + "/root/outside").read() == "seen everywhere"
    m.stop()
    site.forget_host()
    m = site.mount(mode="ro")
    writing.same(want, writing.contents(m / snap))
    m.stop()


@pytest.mark.parametrize("make", [fifo, symlink, device, socket],
                         ids=lambda f: f.__name__)
def test_links_of_others(make, site):
    """Only files have several names in the format: others become several."""
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    path = top + "/root/special"
    make(path)
    os.link(path, path + "2", follow_symlinks=False)
    assert os.lstat(path).st_nlink == os.lstat(path + "2").st_nlink == 2
    snap = writing.publish(m)
    want = writing.contents(m / snap)
    one, two = (want["root"][n] for n in (b"/special", b"/special2"))
    assert one == two
    wait_for(lambda: os.lstat(path).st_ino != os.lstat(path + "2").st_ino,
             10, "two files")
    for n in (path, path + "2", m / snap + "/root/special"):
        assert os.lstat(n).st_nlink == 1
    writing.same(want, writing.contents(top), "current")
    os.unlink(path)
    assert os.lstat(path + "2").st_nlink == 1
    m.stop()


def test_attributes(site):
    """What an archive has no place for is refused when it is set."""
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    f = top + "/root/f"
    for name in ("security.selinux", "security.ima", "system.other",
                 "security.evm"):
        raises(errno.EOPNOTSUPP, os.setxattr, f, name, b"x")
    os.setxattr(f, "user.max", bytes(65536))
    # As much as the kernel lists.
    os.setxattr(f, "user." + "n" * 250, b"x")
    assert os.listxattr(f) == sorted(["user.max", "user." + "n" * 250])
    assert os.getxattr(f, "user.max") == bytes(65536)
    # Those of top-level files have no place at all.
    want = writing.contents(top)
    snap = writing.publish(m)
    writing.same(want, writing.contents(m / snap))
    m.stop()
    site.forget_host()
    m = site.mount(mode="ro")
    assert os.getxattr(m / snap + "/root/f", "user.max") == bytes(65536)
    m.stop()


def test_same_time(site):
    """Times that are taken, or earlier than the last, or none."""
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    first = writing.publish(m)
    write(top + "/root/g", b"x")
    raises(errno.EEXIST, os.mkdir, m / first)
    raises(errno.EINVAL, os.mkdir, m / GROUP + "/2001-01-01T00:00:00Z")
    for bad in ("2030-02-30T00:00:00Z", "2030-01-01T24:00:00Z",
                "2030-01-01T00:00:00z", "2030-01-01T00:00:00",
                "+2030-01-01T00:00:00Z"):
        raises(errno.EINVAL, os.mkdir, m / f"{GROUP}/{bad}")
    writing.publish(m)
    m.stop()


def test_kind_of_base(site):
    """A name keeps the form it has: a blob that outgrew it is refused, and
    an image that shrank to nothing is."""
    m = site.mount()
    top = writing.begin(m)
    fill(top)
    first = writing.publish(m)
    one = writing.contents(m / first)
    os.truncate(top + "/job.conf", 200 * MIB)
    os.truncate(top + "/disk.img", 0)
    os.truncate(top + "/dump", 0)
    said = refused_here(m)
    for name in ("job.conf", "disk.img", "dump"):
        assert f"cannot publish {name}" in said
    os.truncate(top + "/job.conf", 128 * MIB)
    os.truncate(top + "/disk.img", 1)
    os.unlink(top + "/dump")
    want = writing.contents(top)
    second = writing.publish(m)
    m.stop()
    site.forget_host()
    m = site.mount(mode="ro")
    writing.same(want, writing.contents(m / second))
    writing.same(one, writing.contents(m / first))
    assert listing.sha256_file(m / second + "/job.conf")[0] == 128 * MIB
    m.stop()
