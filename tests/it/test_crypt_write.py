# SPDX-License-Identifier: GPL-3.0-or-later
"""
Encrypted and signed snapshots that are written here.  What is in the store is
looked at by a decoder that has nothing of the program: Python's own library
for signatures and digests, the package cryptography for what is encrypted.
"""
import errno
import glob
import json
import os
import random
import re
import stat
import subprocess

import pytest

from pbs3fs_test import fmtcheck, pbsgen, pbskey, trees, writing
from pbs3fs_test.mount import run, wait_for
from pbs3fs_test.paths import PBS3FS
from pbs3fs_test.pbskey import Key

GROUP = "host/web1"


class Keys:
    """Key files of a test's own."""
    def __init__(self, tmp):
        self.tmp = tmp
        self.a = self.make("a")
        self.b = self.make("b")

    def path(self, name):
        return os.path.join(self.tmp, name + ".key.json")

    def make(self, name):
        run("key", "create", "-q", "--kdf=none", self.path(name))
        return Key.load(self.path(name))

    def options(self, *names):
        return "keyfile=" + ":".join(self.path(n) for n in names)


@pytest.fixture
def keys(tmp):
    return Keys(tmp)


class Store:
    def __init__(self, site, bucket):
        self.site = site
        self.bucket = bucket

    def raw(self):
        return fmtcheck.Bucket.live(self.bucket.gateway.client(),
                                    self.bucket.name, "store") \
            if self.bucket else fmtcheck.Directory(self.site.store)

    def clean(self, *keys):
        fmtcheck.clean(self.raw(), keys=keys, all_chunk_dirs=False)


@pytest.fixture
def store(tmp, request):
    """A datastore in a directory, or in a bucket if the test says so."""
    b, options = None, []
    if getattr(request, "param", "directory") == "bucket":
        b = request.getfixturevalue("new_bucket")({}, "store")
        where, options = b.store, b.options()
        run("create", "-q", where, "-o", ",".join(options))
    else:
        where = writing.bare(os.path.join(tmp, "store"))
    s = Store(writing.Site(where, tmp, options), b)
    yield s
    s.site.stop(check=False)


def manifest(store, snap):
    raw = store.raw().read(snap + "/index.json.blob")
    text, encrypted = fmtcheck.rules.check_blob(raw)
    assert not encrypted
    return json.loads(text)


def check_manifest(store, snap, mode, key):
    """What fmtcheck takes as given: that it is as it was asked for."""
    doc = manifest(store, snap)
    assert {f["crypt-mode"] for f in doc["files"]} == {mode}
    if mode == "none":
        assert doc["signature"] is None
        assert "key-fingerprint" not in doc["unprotected"]
    else:
        assert doc["signature"] == key.sign(doc)
        assert doc["unprotected"]["key-fingerprint"] == key.fingerprint
    return doc


def objects(store):
    """{name: its first bytes} of chunks and blobs, without manifests."""
    raw = store.raw()
    return {n: raw.read(n)[:44] for n in raw.files
            if n.startswith(".chunks/") or
            (n.endswith(".blob") and not n.endswith("/index.json.blob"))}


def is_encrypted(head):
    return head[:8] in (pbskey.ENC, pbskey.ENC_ZSTD)


def puts(m):
    return m.status()["writing"]["uploads"]["puts"]


def small(top):
    """A little of everything."""
    rnd = random.Random(1)
    os.makedirs(top + "/root/sub")
    for name, n in (("root/f", 70000), ("root/sub/g", 10), ("disk.img", 9999),
                    ("stream", 300000), ("c.conf", 99)):
        put(os.path.join(top, name), rnd.randbytes(n) + b"packed " * n)
    os.link(top + "/root/f", top + "/root/sub/link")
    os.symlink("f", top + "/root/sym")
    still(top)


def change_small(top):
    put(top + "/root/sub/new", b"new")
    put(top + "/disk.img", b"changed")
    still(top)


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def still(top):
    """Both make it at the same time."""
    for parent, _, files in os.walk(top, topdown=False):
        for n in [os.path.join(parent, n) for n in files] + [parent]:
            if n != top:
                os.utime(n, (1, 1), follow_symlinks=False)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store, mode, archive", [
    ("directory", "encrypt", "split"), ("directory", "sign-only", "pxar"),
    ("bucket", "encrypt", "pxar")], indirect=["store"])
def test_round_trip(store, mode, archive, keys, tmp):
    opts = [keys.options("a"), f"crypt={mode}", f"archive={archive}"]
    fill, change = (trees.everything, trees.change) if mode == "encrypt" else \
        (small, change_small)
    model = os.path.join(tmp, "model")
    os.mkdir(model)
    fill(model)
    want = writing.contents(model)
    m = store.site.mount(*opts)
    top = writing.begin(m)
    fill(top)
    # All of it is in the journal, after whatever end.
    m.kill()
    m = store.site.mount(*opts)
    top = writing.begin(m)
    writing.same(want, writing.contents(top), "resumed")
    snap = writing.publish(m)
    writing.same(want, writing.contents(m / snap), "published")
    writing.same(want, writing.contents(top), "current")
    # What is there is not sent again, though it is written again.
    had = puts(m)
    change(top)
    change(model)
    want2 = writing.contents(model)
    second = writing.publish(m)
    had2 = puts(m)
    assert had2 - had < had
    with open(top + "/x.conf", "w") as f:
        f.write("one more blob\n")
    third = writing.publish(m)
    # Metadata is a stream, and its chunk is the same again.
    assert puts(m) - had2 <= (1 if archive == "pxar" else 0)
    assert m.errors() == ""
    m.stop()
    store.site.forget_host()

    for s in (snap, second, third):
        check_manifest(store, s, mode, keys.a)
    store.clean(keys.a)
    heads = objects(store)
    assert {is_encrypted(h) for h in heads.values()} == {mode == "encrypt"}
    if mode == "encrypt":
        ivs = [h[12:28] for h in heads.values()]
        assert len(set(ivs)) == len(ivs) > 20
    m = store.site.mount(keys.options("a"), mode="ro")
    writing.same(want, writing.contents(m / snap), "afresh")
    writing.same(want2, writing.contents(m / second), "afresh, changed")
    m.stop()
    # Without the key, and with another one.
    for o in ([], [keys.options("b")]):
        store.site.forget_host()
        m = store.site.mount(*o, mode="ro")
        if mode == "sign-only":
            writing.same(want, writing.contents(m / snap), "without the key")
        else:
            assert os.listdir(m / snap)
            for name in ("x.conf", "index.json"):
                try:
                    with open(m / third + "/" + name, "rb") as f:
                        f.read()
                    assert name == "index.json"
                except OSError as e:
                    assert name == "x.conf" and e.errno == errno.ENOKEY
            assert keys.a.fingerprint in m.log()
        m.stop()


WAYS = [("none", None), ("encrypt", "a"), ("encrypt", "b"),
        ("sign-only", "b"), ("none", None), ("encrypt", "a")]


def test_mixed_group(store, keys):
    """One snapshot of each kind over one of every other: each is all that it
    says, and one mount with both keys reads them all."""
    snaps = {}
    for i, (mode, name) in enumerate(WAYS):
        key = getattr(keys, name) if name else None
        m = store.site.mount(keys.options("a", "b"), f"crypt={mode}",
                             *([f"crypt-key={key.fingerprint}"] if key
                               else []))
        top = writing.begin(m)
        if i == 0:
            small(top)
        with open(top + "/n.conf", "w") as f:
            f.write(f"{i}\n")
        want = writing.contents(top)
        snap = writing.publish(m)
        check_manifest(store, snap, mode, key)
        snaps[snap] = want
        assert ("is not encrypted, the one before it is" in m.log()) == \
            (WAYS[i - 1][0] == "encrypt" and mode != "encrypt" and i > 0), i
        m.stop()
    store.clean(keys.a, keys.b)
    store.site.forget_host()
    m = store.site.mount(keys.options("a", "b"), mode="ro")
    for snap, want in snaps.items():
        writing.same(want, writing.contents(m / snap), snap)
    assert m.errors() == ""
    m.stop()


def test_short_fingerprint(store, keys):
    """What people compare names a key, too."""
    m = store.site.mount(keys.options("a", "b"), "crypt=encrypt",
                         f"crypt-key={keys.b.fingerprint[:23].upper()}")
    with open(writing.begin(m) + "/x.conf", "w") as f:
        f.write("x")
    check_manifest(store, writing.publish(m), "encrypt", keys.b)
    m.stop()


def test_what_another_key_uploaded(store, keys, tmp):
    """Changes are in the store before they are published; the next mount has
    another key, or none: it does not mix, and does not lose."""
    data = os.urandom(9 << 20)
    m = store.site.mount(keys.options("a"), "crypt=encrypt", "fsync=s3")
    top = writing.begin(m)
    with open(top + "/disk.img", "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    sent = {n for n, h in objects(store).items()}
    assert len(sent) == 3 and all(map(is_encrypted, objects(store).values()))
    m.kill()

    m = store.site.mount(keys.options("b"), "crypt=encrypt")
    top = writing.begin(m)
    with pytest.raises(OSError) as e:
        with open(top + "/disk.img", "rb") as f:
            f.read()
    assert e.value.errno == errno.ENOKEY
    with pytest.raises(OSError) as e:
        writing.publish(m)
    assert e.value.errno == errno.ENOKEY
    assert keys.a.fingerprint in m.log() and "keyfile=FILE" in m.log()
    m.stop(check=False)

    m = store.site.mount(keys.options("b", "a"), "crypt=encrypt")
    with open(writing.begin(m) + "/disk.img", "rb") as f:
        assert f.read() == data
    snap = writing.publish(m)
    m.stop()
    check_manifest(store, snap, "encrypt", keys.b)
    store.clean(keys.a, keys.b)
    # None of those of the other key is in it.
    entries = fmtcheck.rules.check_index(
        store.raw().read(snap + "/disk.img.fidx"), True).entries
    assert not {f".chunks/{d[:4]}/{d}" for _, _, d in entries} & sent


def test_local_files_are_private(store, keys):
    """They are not encrypted."""
    m = store.site.mount(keys.options("a"), "crypt=encrypt")
    with open(writing.begin(m) + "/x", "wb") as f:
        f.write(b"secret words" * 1000)
    state = glob.glob(store.site.local + "/state/*")
    found = False
    for top in state:
        for parent, dirs, files in os.walk(top):
            for n in dirs + files:
                path = os.path.join(parent, n)
                assert stat.S_IMODE(os.lstat(path).st_mode) & 0o077 == 0, path
            for n in files:
                with open(os.path.join(parent, n), "rb") as f:
                    found = found or b"secret words" in f.read()
        assert stat.S_IMODE(os.lstat(top).st_mode) & 0o077 == 0
    assert found
    m.kill()


# What is wrong with the options.

@pytest.mark.parametrize("opts, text", [
    (["crypt=encrypt"], "there is no key"),
    (["crypt=sign-only"], "there is no key"),
    (["crypt=maybe"], "none|encrypt|sign-only"),
    (["KEYS", "crypt=encrypt", "crypt-key=aa:bb"], "no key file has that"),
    (["KEYS", "crypt=encrypt", "master-pubkey=KEY"],
     "no RSA public key"),
    (["KEYS", "crypt=encrypt", "master-pubkey=/nonexistent"],
     "No such file"),
    (["KEYS", "crypt=encrypt", "master-pubkey=SHORT"], "too short"),
])
def test_refused(opts, text, store, keys, tmp):
    short = os.path.join(tmp, "short.pem")
    subprocess.run(["openssl", "genrsa", "-out", short + ".key", "2048"],
                   check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "rsa", "-in", short + ".key", "-pubout",
                    "-out", short], check=True, stderr=subprocess.DEVNULL)
    opts = [keys.options("a") if o == "KEYS" else
            o.replace("SHORT", short).replace("=KEY", "=" + keys.path("a"))
            for o in opts]
    where = os.path.join(tmp, "mnt")
    os.mkdir(where)
    p = run("mount", store.site.store, where, "-o",
            ",".join([f"state={tmp}/st", *opts]), check=False)
    assert p.returncode != 0
    assert text in p.stderr
    assert "hint:" in p.stderr or "No such file" in text or \
        "RSA" in text or "|" in text
    assert not os.path.ismount(where)
    # Who only reads needs nothing of it.
    if "KEYS" not in opts and opts == ["crypt=encrypt"]:
        store.site.mount(*opts, mode="ro").stop()


# The master key.

@pytest.fixture
def master(tmp):
    private, public = f"{tmp}/master.pem", f"{tmp}/master-public.pem"
    secret = os.path.join(tmp, "secret")
    with open(secret, "w") as f:
        f.write("a long secret\n")
    os.chmod(secret, 0o600)
    run("key", "create-master-key", private, public,
        f"--passphrase-file={secret}")
    return private, public, secret


def test_master_key(store, keys, master, tmp):
    """The store and the master key alone are enough."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import padding
    private, public, secret = master
    m = store.site.mount(keys.options("a"), "crypt=encrypt",
                         f"master-pubkey={public}")
    with open(writing.begin(m) + "/x.conf", "w") as f:
        f.write("content")
    with open(writing.begin(m) + "/a.img", "w") as f:
        f.write("content")
    snap = writing.publish(m)
    m.stop()
    doc = check_manifest(store, snap, "encrypt", keys.a)
    assert doc["files"][-1]["filename"] == "rsa-encrypted.key.blob"
    store.clean(keys.a)
    raw = store.raw().read(snap + "/rsa-encrypted.key.blob")
    assert raw[:8] == pbsgen.RAW and len(raw) == 12 + 512
    # By another hand.
    with open(private, "rb") as f:
        pem = f.read()
    assert stat.S_IMODE(os.stat(private).st_mode) == 0o600
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    k = serialization.load_pem_private_key(pem, b"a long secret")
    text = json.loads(k.decrypt(raw[12:], padding.PKCS1v15()))
    with open(keys.path("a")) as f:
        own = json.load(f)
    assert text["kdf"] is None and text["data"] == own["data"]
    assert text["created"] == own["created"]
    assert text["fingerprint"] == own["fingerprint"] == keys.a.fingerprint
    with open(public, "rb") as f:
        assert serialization.load_pem_public_key(f.read()).key_size == 4096

    store.site.forget_host()
    m = store.site.mount(mode="ro")
    blob = os.path.join(tmp, "rsa.key")
    with open(m / snap + "/rsa-encrypted.key", "rb") as f, \
            open(blob, "wb") as out:
        out.write(f.read())
    m.stop()
    got = os.path.join(tmp, "recovered.json")
    run("key", "recover", "--kdf=none", f"--passphrase-file={secret}",
        private, blob, got)
    assert Key.load(got).raw == keys.a.raw
    m = store.site.mount(f"keyfile={got}", mode="ro")
    with open(m / snap + "/x.conf") as f:
        assert f.read() == "content"
    m.stop()


def test_a_master_key_of_openssl(tmp, keys, store):
    """Its public part as openssl writes it; in a signed snapshot, too."""
    private, public = f"{tmp}/m.pem", f"{tmp}/m-public.pem"
    subprocess.run(["openssl", "genrsa", "-out", private, "4096"], check=True,
                   stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "rsa", "-in", private, "-pubout", "-out",
                    public], check=True, stderr=subprocess.DEVNULL)
    m = store.site.mount(keys.options("a"), "crypt=sign-only",
                         f"master-pubkey={public}")
    with open(writing.begin(m) + "/x.conf", "w") as f:
        f.write("content")
    snap = writing.publish(m)
    m.stop()
    check_manifest(store, snap, "sign-only", keys.a)
    store.clean(keys.a)
    got = os.path.join(tmp, "recovered.json")
    run("key", "recover", "--kdf=none", private,
        os.path.join(store.site.store, snap, "rsa-encrypted.key.blob"), got)
    assert Key.load(got).raw == keys.a.raw


def test_create_master_key_replaces_nothing(tmp, master):
    private, public, secret = master
    before = open(private).read()
    for a, b in ((private, f"{tmp}/new"), (f"{tmp}/new", public)):
        p = run("key", "create-master-key", a, b, "--kdf=none", check=False)
        assert p.returncode != 0 and "exists" in p.stderr
    assert open(private).read() == before
    assert not os.path.exists(f"{tmp}/new")


# Memory.

def test_no_core(tmp, keys, store):
    """With keys a process cannot be looked into by others of its user, which
    the owner of its files in /proc shows; keys are in locked pages."""
    def owner(*opts):
        r, w = os.pipe()
        os.chmod(tmp, 0o755)
        p = subprocess.Popen(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
             PBS3FS, "ls", store.site.store, "-o",
             ",".join([f"passphrase-fd={r}", *opts])],
            pass_fds=[r], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(r)
        try:
            if opts:
                # It waits for a passphrase.
                wait_for(lambda: os.stat(f"/proc/{p.pid}/status").st_uid == 0
                         or p.poll() is not None, 10, "keys to be loaded")
            uid = os.stat(f"/proc/{p.pid}/status").st_uid
        finally:
            os.close(w)
            p.wait()
        return uid

    path = os.path.join(tmp, "locked.json")
    secret = os.path.join(tmp, "p")
    with open(secret, "w") as f:
        f.write("a long secret\n")
    os.chmod(secret, 0o600)
    run("key", "create", path, f"--passphrase-file={secret}")
    os.chown(path, 65534, 65534)
    assert owner(f"keyfile={path}") == 0

    m = store.site.mount(keys.options("a"), "crypt=encrypt")
    small(writing.begin(m))
    writing.contents(m / writing.publish(m))
    with open(f"/proc/{m.pid}/status") as f:
        locked = int(re.search(r"VmLck:\s*(\d+)", f.read())[1])
    with open(f"/proc/{m.pid}/smaps") as f:
        flags = [line.split()[1:] for line in f
                 if line.startswith("VmFlags:")]
    # A page for the key at least; locked, and in no dump.
    assert locked >= 4
    assert any("lo" in f and "dd" in f for f in flags)
    # Nowhere else in what can be written to.
    assert in_memory(m.pid, keys.a.raw) == []
    assert in_memory(m.pid, keys.a.id_key) == []
    m.stop()


def in_memory(pid, what):
    """Whether that is in a page which is not locked."""
    with open(f"/proc/{pid}/smaps") as f:
        text = f.read()
    hits = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for part in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", text):
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", part)
            flags = re.search(r"VmFlags:(.*)", part)
            if not head or " lo" in flags[1] or " dd" in flags[1]:
                continue
            lo, hi = int(head[1], 16), int(head[2], 16)
            if hi - lo > 1 << 30:
                continue
            try:
                mem.seek(lo)
                data = mem.read(hi - lo)
            except (OSError, ValueError):
                continue
            if what in data:
                hits.append(f"{lo:x}+{data.index(what):x}")
    return hits


# A flipped bit, wherever it is.

def test_flipped_bits(tmp, keys, store):
    """In each object of a snapshot, at a place of each kind: it is noticed,
    and nothing wrong is shown."""
    m = store.site.mount(keys.options("a"), "crypt=encrypt")
    top = writing.begin(m)
    content = b"some words that can be packed " * 300
    os.mkdir(top + "/root")
    for name in ("a.img", "x.conf", "root/f"):
        with open(os.path.join(top, name), "wb") as f:
            f.write(content)
    snap = writing.publish(m)
    m.stop()

    def look():
        store.site.forget_host()
        r = store.site.mount(keys.options("a"), mode="ro")
        bad = 0
        for name in ("a.img", "x.conf", "root/f"):
            try:
                with open(os.path.join(r / snap, name), "rb") as f:
                    assert f.read() == content
            except OSError as e:
                # Without its manifest nobody knows whose key it was.
                assert e.errno in (errno.EIO, errno.ENOKEY)
                bad += 1
        r.stop(check=False)
        return bad

    assert look() == 0
    raw = store.raw()
    heads = objects(store)
    paths = [*heads, snap + "/index.json.blob"]
    for n, name in enumerate(sorted(paths)):
        path = os.path.join(store.site.store, name)
        data = raw.read(name)
        # Magic, CRC, IV, tag, content: one for each object in turn.
        at = (0, 9, 20, 30, len(data) - 1)[n % 5] % len(data)
        os.chmod(path, 0o644)
        with open(path, "r+b") as f:
            f.seek(at)
            f.write(bytes([data[at] ^ 1 << n % 8]))
        assert look() > 0, (name, at)
        with open(path, "wb") as f:
            f.write(data)
    assert look() == 0
