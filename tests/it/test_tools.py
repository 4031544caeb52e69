# SPDX-License-Identifier: GPL-3.0-or-later
"""
The backup tools that people have, writing into the mount: each does its usual
work in current/, checks it by its own means, and what it left is published and
equal on another host.

TEST_TOOLS_ON=DIR runs them in a plain directory instead, to see whether a
failure is the tool's or ours.
"""
import hashlib
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from conftest import need
from pbs3fs_test import pbsgen, writing
from pbs3fs_test.paths import SLOW

pytestmark = pytest.mark.timeout(240)


def sh(*args, **kw):
    """A command that must succeed; its output."""
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       stdin=subprocess.DEVNULL, text=True, **kw)
    assert p.returncode == 0, f"{' '.join(args)}: {p.returncode}\n{p.stdout}"
    return p.stdout


def has(*tools):
    for tool in tools:
        need(shutil.which(tool), tool)


class Work:
    """Where a tool works: top is current/, tree a directory in it."""
    def __init__(self, tmp, site=None):
        self.tmp = tmp
        self.site = site
        if site:
            # Some tools work as a user of their own.
            self.mount = site.mount("allow-other")
            self.top = writing.begin(self.mount)
        else:
            self.mount = None
            self.top = os.path.join(os.environ["TEST_TOOLS_ON"],
                                    os.path.basename(tmp))
            os.makedirs(self.top)
        self.tree = os.path.join(self.top, "data")
        os.mkdir(self.tree)

    def published(self):
        """Publishes, and compares with what another host sees."""
        if not self.site:
            return
        want = writing.contents(self.top)
        path = writing.publish(self.mount)
        writing.same(want, writing.contents(self.mount / path), "here")
        writing.same(want, writing.contents(self.top), "current/")
        self.mount.stop()
        self.site.forget_host()
        there = self.site.mount(mode="ro")
        writing.same(want, writing.contents(there / path), "elsewhere")
        there.stop()


@pytest.fixture(params=["dir", "s3"])
def work(request, tmp):
    if os.environ.get("TEST_TOOLS_ON"):
        if request.param == "s3":
            pytest.skip("a plain directory is asked for")
        w = Work(tmp)
        yield w
        shutil.rmtree(w.top)
        return
    if request.param == "dir":
        site = writing.Site(writing.bare(os.path.join(tmp, "store")), tmp)
    else:
        b = request.getfixturevalue("new_bucket")({}, "store")
        writing.run("create", b.store, "-o", ",".join(b.options()))
        site = writing.Site(b.store, tmp, b.options())
    dog = threading.Timer(230 * SLOW, site.abort)
    dog.daemon = True
    dog.start()
    yield Work(tmp, site)
    dog.cancel()
    site.stop()


def sample_tree(top, files=60, seed=1):
    """Files of many sizes, with all that rsync -aHAX copies."""
    r = random.Random(seed)
    for i in range(files):
        d = os.path.join(top, f"d{i % 7}", f"e{i % 3}")
        os.makedirs(d, exist_ok=True)
        path = os.path.join(d, f"file {i}")
        with open(path, "wb") as f:
            f.write(pbsgen.noise(r.choice([0, 1, 4095, 4096, 70000, 300000]),
                                 seed * 1000 + i))
        os.chmod(path, r.choice([0o600, 0o644, 0o755, 0o4755]))
        os.utime(path, ns=(0, 1_500_000_000_123_456_789 + i))
    os.symlink("file 0", os.path.join(top, "d0/link"))
    os.symlink("/nowhere/ä", os.path.join(top, "d0/dangling"))
    os.link(os.path.join(top, "d0/e0/file 0"), os.path.join(top, "hard 1"))
    os.link(os.path.join(top, "d0/e0/file 0"), os.path.join(top, "d6/hard 2"))
    os.mkfifo(os.path.join(top, "fifo"), 0o640)
    os.mknod(os.path.join(top, "null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(os.path.join(top, "d1"), "user.colour", b"blue\0green")
    os.chown(os.path.join(top, "d2"), 1234, 4321)
    sh("setfacl", "-m", "u:1000:rw,g:50:r", os.path.join(top, "d3/e0/file 3"))
    sh("setfacl", "-d", "-m", "u:1000:rwx", os.path.join(top, "d4"))
    with open(os.path.join(top, "sparse"), "wb") as f:
        f.seek(5 << 20)
        f.write(b"end")
    for d, _, _ in os.walk(top, topdown=False):
        os.utime(d, ns=(0, 1_400_000_000_000_000_001))
    return top


def source(work, **kw):
    path = os.path.join(work.tmp, "source")
    os.mkdir(path)
    return sample_tree(path, **kw)


def test_cp_and_shell(work):
    src = source(work)
    sh("cp", "-a", src + "/.", work.tree)
    sh("diff", "-r", "--no-dereference", "-x", "fifo", "-x", "null", src,
       work.tree)
    sh("sh", "-ec", "echo one > log; echo two >> log; cat log log > both; "
       "mv both renamed; printf x | dd of=log bs=1 seek=2 conv=notrunc; "
       "ln -s log l; cp --sparse=always sparse sparse2; truncate -s 3 log",
       cwd=work.tree)
    with open(work.tree + "/log") as f:
        assert f.read() == "onx"
    with open(work.tree + "/renamed") as f:
        assert f.read() == "one\ntwo\n" * 2
    work.published()


def test_dd(work):
    image = os.path.join(work.top, "disk.img")
    data = bytearray(pbsgen.noise(20 << 20, 7))
    first = os.path.join(work.tmp, "first")
    with open(first, "wb") as f:
        f.write(data)
    sh("dd", "if=" + first, "of=" + image, "bs=1M", "conv=fsync")
    patch = os.path.join(work.tmp, "patch")
    with open(patch, "wb") as f:
        f.write(pbsgen.noise(3 << 20, 8))
    sh("dd", "if=" + patch, "of=" + image, "bs=1M", "seek=9", "conv=notrunc")
    data[9 << 20:12 << 20] = pbsgen.noise(3 << 20, 8)
    sh("dd", "if=" + patch, "of=" + image, "bs=64k", "seek=33", "count=5",
       "conv=notrunc", "oflag=direct")
    data[33 * 65536:38 * 65536] = pbsgen.noise(3 << 20, 8)[:5 * 65536]
    sh("dd", "if=/dev/zero", "of=" + image, "bs=4M", "seek=6", "count=1",
       "conv=notrunc")
    data += bytes((28 << 20) - len(data))
    with open(image, "rb") as f:
        assert hashlib.sha256(f.read()).digest() == \
            hashlib.sha256(data).digest()
    work.published()


def test_tar(work):
    src = source(work)
    stream = os.path.join(work.top, "backup.tar")
    tar = ["tar", "--acls", "--xattrs", "--numeric-owner", "--sort=name"]
    sh(*tar, "-cf", stream, "-C", src, "d0", "d1")
    sh(*tar, "-rf", stream, "-C", src, "d2", "d3", "sparse")
    sh(*tar, "-df", stream, "-C", src)
    sh(*tar, "-xpf", stream, "-C", work.tree)
    for name in ("d0", "d1", "d2", "d3"):
        sh("diff", "-r", "--no-dereference", os.path.join(src, name),
           os.path.join(work.tree, name))
    assert os.getxattr(work.tree + "/d1", "user.colour") == b"blue\0green"
    work.published()


def test_rsync(work):
    has("rsync")
    src = source(work)
    copy = ["rsync", "-aHAX", "--numeric-ids", "--itemize-changes",
            "--delete", src + "/", work.tree]
    assert sh(*copy)
    assert sh(*copy) == ""
    assert sh(*copy[:2], "--checksum", *copy[2:]) == ""
    # In place: blocks in the middle of a file, then a longer one.
    big = os.path.join(src, "big")
    with open(big, "wb") as f:
        f.write(pbsgen.noise(6 << 20, 3))
    sh(*copy)
    with open(big, "r+b") as f:
        f.seek(2 << 20)
        f.write(b"changed here")
    ino = os.stat(work.tree + "/big").st_ino
    sh("rsync", "-aHAX", "--ignore-times", "--inplace", "--no-whole-file",
       src + "/", work.tree)
    assert os.stat(work.tree + "/big").st_ino == ino
    sh("cmp", big, work.tree + "/big")
    with open(big, "ab") as f:
        f.write(b"more" * 1000)
    sh("rsync", "-a", "--append-verify", big, work.tree)
    sh("cmp", big, work.tree + "/big")
    shutil.rmtree(os.path.join(src, "d5"))
    sh(*copy)
    assert not os.path.exists(work.tree + "/d5")
    assert sh(*copy) == ""
    work.published()


def test_rsnapshot(work):
    has("rsnapshot", "rsync", "cp")
    src = source(work)
    conf = os.path.join(work.tmp, "rsnapshot.conf")
    root = os.path.join(work.tree, "snapshots")
    with open(conf, "w") as f:
        for line in ("config_version 1.2", f"snapshot_root {root}/",
                     "no_create_root 0", "cmd_cp /bin/cp", "cmd_rm /bin/rm",
                     "cmd_rsync /usr/bin/rsync", "link_dest 0",
                     "rsync_short_args -aHAX", "retain alpha 3",
                     "verbose 2", f"lockfile {work.tmp}/pid",
                     f"backup {src}/ here/"):
            words = line.split(" ")
            f.write("\t".join([words[0], " ".join(words[1:])]
                              if words[0] not in ("retain", "backup")
                              else words) + "\n")
    changed = os.path.join(src, "d1/e1/file 1")
    for round in range(4):
        with open(changed, "w") as f:
            f.write(f"round {round}\n" * (round + 1))
        sh("rsnapshot", "-c", conf, "alpha")
    names = sorted(os.listdir(root))
    assert names == ["alpha.0", "alpha.1", "alpha.2"]
    here = [f"{root}/alpha.{i}/here{src}" for i in range(3)]
    for i, round in enumerate((3, 2, 1)):
        with open(here[i] + "/d1/e1/file 1") as f:
            assert f.read() == f"round {round}\n" * (round + 1)
    a, b = (os.stat(h + "/d2/e2/file 2") for h in here[:2])
    assert a.st_ino == b.st_ino and a.st_nlink == 3
    work.published()


def test_restic(work):
    has("restic")
    src = source(work)
    env = dict(os.environ, RESTIC_PASSWORD="secret",
               RESTIC_REPOSITORY=os.path.join(work.tree, "repo"),
               RESTIC_CACHE_DIR=os.path.join(work.tmp, "restic-cache"))

    def restic(*args):
        return sh("restic", *args, env=env)

    restic("init")
    restic("backup", src)
    with open(os.path.join(src, "new"), "wb") as f:
        f.write(pbsgen.noise(2 << 20, 77))
    restic("backup", src)
    restic("check", "--read-data")
    restic("forget", "--keep-last", "1", "--prune")
    restic("check", "--read-data")
    back = os.path.join(work.tmp, "restored")
    restic("restore", "latest", "--target", back)
    sh("diff", "-r", "--no-dereference", "-x", "fifo", "-x", "null", src,
       back + src)
    work.published()


def test_borg(work):
    has("borg")
    src = source(work)
    env = dict(os.environ, BORG_REPO=os.path.join(work.tree, "repo"),
               BORG_BASE_DIR=os.path.join(work.tmp, "borg"),
               BORG_PASSPHRASE="secret")

    def borg(*args, **kw):
        return sh("borg", *args, env=env, **kw)

    borg("init", "--encryption=repokey")
    borg("create", "::one", src)
    with open(os.path.join(src, "new"), "wb") as f:
        f.write(pbsgen.noise(2 << 20, 78))
    borg("create", "::two", src)
    borg("check", "--verify-data")
    borg("prune", "--keep-last", "1")
    borg("compact", "--threshold", "0")
    borg("check", "--verify-data")
    back = os.path.join(work.tmp, "restored")
    os.mkdir(back)
    borg("extract", "::two", cwd=back)
    sh("diff", "-r", "--no-dereference", "-x", "fifo", "-x", "null", src,
       back + src)
    work.published()


def test_sqlite(work):
    path = os.path.join(work.tree, "app.db")
    for mode in ("delete", "wal"):
        db = sqlite3.connect(path)
        assert db.execute(f"pragma journal_mode={mode}").fetchone()[0] == mode
        db.execute("create table if not exists t(n integer, b blob)")
        for i in range(20):
            with db:
                db.execute("insert into t values(?, ?)",
                           (i, pbsgen.noise(5000, i)))
        with db:
            db.execute("delete from t where n % 3 = 0")
        # Somebody else, at the same time, through fcntl locks.
        other = subprocess.run(
            [sys.executable, "-c", "import sqlite3, sys\n"
             "d = sqlite3.connect(sys.argv[1])\n"
             "d.execute('insert into t values(1000, null)'); d.commit()\n"
             "d.close()", path], stderr=subprocess.PIPE)
        assert other.returncode == 0, other.stderr
        assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
        rows = db.execute("select count(*) from t").fetchone()[0]
        db.close()
    assert rows == 2 * (20 - 7) + 2
    sh("sqlite3", path, "vacuum; pragma integrity_check")
    work.published()


def test_git(work):
    has("git")
    origin = os.path.join(work.tmp, "origin")
    env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null",
               GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@example.org",
               GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@example.org")
    sh("git", "init", "-q", "-b", "main", origin)
    for i in range(30):
        with open(os.path.join(origin, f"f{i % 10}"), "wb") as f:
            f.write(pbsgen.noise(20000, i))
        sh("git", "add", "-A", cwd=origin, env=env)
        sh("git", "commit", "-qm", f"change {i}", cwd=origin, env=env)
    clone = os.path.join(work.tree, "clone")
    sh("git", "clone", "-q", "--no-local", origin, clone, env=env)
    with open(os.path.join(clone, "f1"), "a") as f:
        f.write("more\n")
    sh("git", "commit", "-qam", "here", cwd=clone, env=env)
    sh("git", "gc", "-q", "--aggressive", "--prune=now", cwd=clone, env=env)
    sh("git", "fsck", "--strict", cwd=clone, env=env)
    assert sh("git", "status", "--porcelain", cwd=clone, env=env) == ""
    assert sh("git", "rev-list", "--count", "HEAD", cwd=clone,
              env=env).strip() == "31"
    work.published()


def test_loop_ext4(work):
    """An ext4 on a loop device over an image that is being written."""
    has("mkfs.ext4", "losetup")
    image = os.path.join(work.top, "disk.img")
    inside = os.path.join(work.tmp, "inside")
    os.mkdir(inside)
    with open(image, "wb") as f:
        f.truncate(96 << 20)
    sh("mkfs.ext4", "-q", "-F", image)
    for round in range(2):
        sh("mount", "-o", "loop", image, inside)
        try:
            os.mkdir(os.path.join(inside, f"t{round}"))
            sample_tree(os.path.join(inside, f"t{round}"), seed=round)
            sh("sync", "-f", inside)
            if round:
                shutil.rmtree(os.path.join(inside, "t0"))
        finally:
            sh("umount", inside)
        sh("fsck.ext4", "-fn", image)
    work.published()
