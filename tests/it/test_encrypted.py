# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted and signed snapshots with their keys."""
import base64
import errno
import json
import os
import pty
import shutil
import struct
import subprocess
import zlib

import pytest
import zstandard

from pbs3fs_test import check, fixtures, listing, pbsgen, pbskey
from pbs3fs_test.mount import run
from pbs3fs_test.paths import DATA, PBS3FS
from pbs3fs_test.pbskey import Key

KEYS = os.path.join(DATA, "keys")
PASSPHRASES = {"key-scrypt": "scrypt-pass", "key-pbkdf2": "pbkdf2-pass"}
T1 = "2024-01-01T00:00:00Z"
ONE = f"host/h1/{T1}"


@pytest.fixture
def keys(tmp):
    """keys(name...): the options that give these keys; files of one's own, so
    that nobody is warned of."""
    def get(*names):
        out = []
        for name in names:
            path = os.path.join(tmp, name + ".json")
            shutil.copy(os.path.join(KEYS, name + ".json"), path)
            os.chmod(path, 0o600)
            out.append(path)
        opts = ["keyfile=" + ":".join(out)]
        secret = [PASSPHRASES[n] for n in names if n in PASSPHRASES]
        if secret:
            opts.append("passphrase-file=" + write(tmp, "pass",
                                                   "\n".join(secret) + "\n"))
        return opts
    return get


def write(tmp, name, text, mode=0o600):
    path = os.path.join(tmp, name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def only_with(expected, fingerprints):
    """An expected listing for whom only these keys are there."""
    for g in expected["groups"]:
        for s in g["snapshots"]:
            if not s["finished"]:
                continue
            fp = s["manifest"]["unprotected"].get("key-fingerprint")
            if fp in fingerprints:
                continue
            for a in s["archives"]:
                kinds = {c[3] for c in a.get("chunks", ())}
                kinds.add(a.get("blob", {}).get("kind"))
                if kinds & {"enc", "enc-zstd"}:
                    a.pop("content_sha256", None)
                    a.pop("pxar", None)
            if s.get("client_log", {}).get("kind", "").startswith("enc"):
                s["client_log"].pop("content_sha256", None)
    return expected


def fingerprint(name):
    with open(os.path.join(KEYS, name + ".json")) as f:
        return json.load(f)["fingerprint"]


@pytest.mark.sanitize
@pytest.mark.timeout(300)
def test_all_keys(fx, keys, mounts, tmp):
    m = mounts(fx["encrypted"], f"cache={tmp}/c", f"state={tmp}/s",
               *keys("key-none", "key-scrypt", "key-pbkdf2"))
    n, locked = check.everything(m.path, fixtures.expected("encrypted"))
    assert n and locked == 0
    assert m.errors() == ""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["key-none", "key-scrypt", "key-pbkdf2"])
def test_one_key(name, fx, keys, mounts, tmp):
    """What the key opens reads, all else is as without any."""
    m = mounts(fx["encrypted"], f"cache={tmp}/c", f"state={tmp}/s",
               *keys(name))
    want = only_with(fixtures.expected("encrypted"), {fingerprint(name)})
    _, locked = check.everything(m.path, want)
    assert locked > 0
    assert m.errors() == ""
    others = {fingerprint(k) for k in
              ("key-none", "key-scrypt", "key-pbkdf2")} - {fingerprint(name)}
    assert any(fp in m.log() for fp in others), m.log()


@pytest.mark.timeout(300)
def test_s3(bucket, keys, mounts, tmp):
    b = bucket("encrypted")
    opts = [f"cache={tmp}/c", f"state={tmp}/s", *b.options(),
            *keys("key-none", "key-scrypt", "key-pbkdf2")]
    m = mounts(b.store, *opts)
    _, locked = check.everything(m.path, fixtures.expected("encrypted"))
    assert locked == 0
    m.stop()
    # What is in the cache is as good, and as encrypted, as in the store.
    m = mounts(b.store, *opts, name="again")
    check.everything(m.path, fixtures.expected("encrypted"))
    assert m.requests()["get"] == 0


@pytest.mark.timeout(300)
def test_s3_group(bucket, keys, mounts, tmp):
    b = bucket("s3-bucket")
    m = mounts(b.store, f"cache={tmp}/c", f"state={tmp}/s", *b.options(),
               *keys("key-s3"))
    _, locked = check.everything(m.path, fixtures.expected("s3"))
    assert locked == 0


# Damage that only a key shows.

CASES = fixtures.damaged_cases()


@pytest.fixture
def look(fx, keys, mounts, tmp):
    """look(case): the mount with its key, what fails and what reads."""
    def go(case):
        m = mounts(os.path.join(fx["damaged"], case), f"cache={tmp}/c",
                   f"state={tmp}/s", *keys("key-none"), name=case)
        failed, read = check.failures(m.path)
        return m, failed, {p: v for p, v in read.items()
                           if not p.startswith(".pbs3fs/")}
    return go


@pytest.mark.parametrize("case", ["enc-ok", "enc-notes-changed"])
def test_undamaged(case, look):
    m, failed, read = look(case)
    assert failed == {}
    assert m.errors() == ""
    assert any(p.startswith(f"{ONE}/root/") for p in read)


@pytest.mark.parametrize("case", [
    "enc-chunk-bitflip", "enc-chunk-data-crc-fixed", "enc-chunk-tag",
    "enc-chunk-iv", "enc-chunk-plain"])
def test_bad_chunk(case, look):
    _, _, good = look("enc-ok")
    m, failed, read = look(case)
    digest = CASES[case]["detail"]
    assert failed, "nobody noticed"
    assert all(p.startswith(ONE) for p in failed)
    assert f"chunk {digest} " in m.errors()
    why = {"enc-chunk-bitflip": "crc is wrong",
           "enc-chunk-plain": "not encrypted"}.get(case, "not authentic")
    assert why in m.errors()
    # Nothing wrong is shown.
    for path, pages in read.items():
        if isinstance(pages, dict) and not path.endswith("index.json"):
            for n, b in pages.items():
                assert good[path][n] == b, (path, n)


def test_forged_signature(look):
    m, failed, _ = look("enc-signature")
    inside = {p for p in failed if p.startswith(ONE + "/")}
    for name in os.listdir(m / ONE):
        assert f"{ONE}/{name}" in inside, name
    assert all(failed[p] == "EIO" for p in inside)
    assert f".cnt/{ONE}/index.json.blob" in m.errors()
    assert "signature" in m.errors()
    assert "signature" in m.log()


def test_other_fingerprint(look, fx):
    m, failed, _ = look("enc-fingerprint")
    with open(m / f"{ONE}/index.json") as f:
        fp = json.load(f)["unprotected"]["key-fingerprint"]
    assert fp != fingerprint("key-none")
    assert failed[f"{ONE}/root"] == "ENOKEY"
    assert fp in m.log()
    assert m.errors() == ""


def blob_with(text):
    return pbsgen.RAW + struct.pack("<I", zlib.crc32(text)) + text


def content(raw):
    return raw[12:] if raw[:8] == pbsgen.RAW else \
        zstandard.ZstdDecompressor().decompress(raw[12:],
                                                max_output_size=1 << 24)


def sign(manifest):
    """The signature as the format has it."""
    return Key.load(os.path.join(KEYS, "key-none.json")).sign(manifest)


@pytest.fixture
def edited(fx, tmp):
    """edited(name, change): enc-ok with another manifest."""
    def make(name, change):
        top = os.path.join(tmp, name)
        subprocess.run(["cp", "-a", os.path.join(fx["damaged"], "enc-ok"),
                        top], check=True)
        path = os.path.join(top, ONE, "index.json.blob")
        with open(path, "rb") as f:
            m = json.loads(content(f.read()))
        change(m)
        with open(path, "wb") as f:
            f.write(blob_with(json.dumps(m).encode()))
        return top
    return make


def test_signature_is_the_formats(fx, keys):
    """Ours agrees with the real one on every signed snapshot, or it would not
    read; the one computed here must, too."""
    seen = 0
    for g in fixtures.expected("encrypted")["groups"]:
        for s in check.snapshots(g).values():
            m = s["manifest"]
            if m["unprotected"].get("key-fingerprint") == \
                    fingerprint("key-none"):
                assert sign(m) == m["signature"]
                seen += 1
    assert seen > 3


def read_root(m):
    return sorted(os.listdir(m / f"{ONE}/root"))


def test_signed_here(edited, keys, mounts, tmp):
    """A manifest with other content and the right signature is right; with
    the old one it is not; without any it is accepted."""
    def rename(m):
        for f in m["files"]:
            f["unknown"] = ["dropped", 1]
        m["files"] = m["files"][::-1]

    def resign(m):
        rename(m)
        m["signature"] = sign(m)

    def unsign(m):
        rename(m)
        m["signature"] = None

    opts = [f"cache={tmp}/c", f"state={tmp}/s", *keys("key-none")]
    good = mounts(edited("resigned", resign), *opts)
    names = read_root(good)
    assert names and good.errors() == ""
    unsigned = mounts(edited("unsigned", unsign), *opts)
    assert read_root(unsigned) == names
    bad = mounts(edited("renamed", rename), *opts)
    with pytest.raises(OSError) as e:
        read_root(bad)
    assert e.value.errno == errno.EIO
    assert "signature" in bad.errors()


@pytest.mark.parametrize("field", ["size", "csum", "crypt-mode", "filename",
                                   "backup-id", "backup-time"])
def test_every_field_is_signed(field, edited, keys, mounts, tmp):
    def change(m):
        f = m["files"][-1]
        if field == "size":
            f["size"] += 1
        elif field == "csum":
            f["csum"] = "0" * 64
        elif field == "crypt-mode":
            f["crypt-mode"] = "none"
        elif field == "filename":
            f["filename"] = "x" + f["filename"]
        elif field == "backup-id":
            m["backup-id"] = "other"
        else:
            m["backup-time"] += 1

    m = mounts(edited(field, change), f"cache={tmp}/c", f"state={tmp}/s",
               *keys("key-none"))
    with pytest.raises(OSError) as e:
        read_root(m)
    assert e.value.errno == errno.EIO
    assert "signature" in m.errors()


# Keys and passphrases.

def attempt(store, *opts, env=None):
    p = run("ls", store, "-o", ",".join(opts), check=False, env=env,
            start_new_session=True, stdin=subprocess.DEVNULL)
    return p.returncode, p.stderr


@pytest.fixture
def scrypt(keys):
    """Only its key file, without the passphrase."""
    return keys("key-scrypt")[:1]


def test_wrong_passphrase(fx, scrypt, tmp):
    code, text = attempt(fx["encrypted"], *scrypt, "passphrase-file=" +
                         write(tmp, "p", "wrong-pass\n"))
    assert code == 5
    assert "wrong passphrase" in text and "the hint" in text
    assert "wrong-pass" not in text


def test_no_passphrase(fx, scrypt):
    code, text = attempt(fx["encrypted"], *scrypt)
    assert code == 5
    assert "no terminal" in text and "hint: " in text


@pytest.mark.parametrize("name", ["PBS3FS_PASSPHRASE",
                                  "PBS_ENCRYPTION_PASSWORD"])
def test_environment(name, fx, scrypt):
    code, text = attempt(fx["encrypted"], *scrypt,
                         env={name: "scrypt-pass"})
    assert code == 0, text
    assert "scrypt-pass" not in text


def test_credential(fx, scrypt, tmp):
    write(tmp, "pbs3fs.passphrase", "scrypt-pass")
    code, text = attempt(fx["encrypted"], *scrypt,
                         env={"CREDENTIALS_DIRECTORY": tmp})
    assert code == 0, text


def test_descriptor(fx, scrypt):
    r, w = os.pipe()
    os.write(w, b"scrypt-pass\n")
    os.close(w)
    p = run("ls", fx["encrypted"], "-o",
            ",".join([*scrypt, f"passphrase-fd={r}"]), pass_fds=[r])
    os.close(r)
    assert p.returncode == 0


def test_open_passphrase_file(fx, scrypt, tmp):
    path = write(tmp, "p", "scrypt-pass", 0o644)
    code, text = attempt(fx["encrypted"], *scrypt, f"passphrase-file={path}")
    assert code == 5 and "chmod" in text


def test_open_key_file(fx, tmp):
    path = os.path.join(tmp, "k")
    shutil.copy(os.path.join(KEYS, "key-none.json"), path)
    os.chmod(path, 0o644)
    code, text = attempt(fx["encrypted"], f"keyfile={path}")
    assert code == 0
    assert "others can read it" in text and path in text


def test_repeated_option(fx, tmp, mounts, keys):
    opts = keys("key-none")
    other = keys("key-pbkdf2")
    m = mounts(fx["encrypted"], f"cache={tmp}/c", f"state={tmp}/s", *opts,
               *other)
    want = only_with(fixtures.expected("encrypted"),
                     {fingerprint("key-none"), fingerprint("key-pbkdf2")})
    check.everything(m.path, want)


@pytest.mark.parametrize("text, why", [
    ("", "damaged"), ("{}", "damaged"), ("garbage", "damaged"),
    ('{"kdf":null,"created":"2024-01-01T00:00:00Z",'
     '"modified":"2024-01-01T00:00:00Z","data":"AAAA"}', "length"),
    ('{"kdf":{"Argon2":{}},"created":"2024-01-01T00:00:00Z",'
     '"modified":"2024-01-01T00:00:00Z","data":"' + "A" * 43 + '="}', "kdf"),
])
def test_damaged_key_file(text, why, fx, tmp):
    code, err = attempt(fx["encrypted"], "keyfile=" + write(tmp, "k", text))
    assert code == 3
    assert why in err and f"{tmp}/k" in err


def test_flipped_bits_of_a_key_file(tmp):
    """Each character of key and fingerprint."""
    with open(os.path.join(KEYS, "key-none.json")) as f:
        good = f.read()
    path = os.path.join(tmp, "k")
    begin, end = good.index('"data":"') + 8, good.index('","fingerprint')
    fp = good.index('"fingerprint":"') + 15
    for at in [*range(begin, end), *range(fp, fp + 95)]:
        c = chr(ord(good[at]) ^ 1)
        write(tmp, "k", good[:at] + c + good[at + 1:])
        p = run("key", "show", path, check=False)
        assert p.returncode == 3, (at, p.stderr)
        assert "damaged" in p.stderr


def test_no_key_file(fx):
    code, text = attempt(fx["encrypted"], "keyfile=/no/such/key")
    assert code == 1
    assert "/no/such/key" in text


def test_check_needs_no_passphrase(fx, scrypt):
    p = run("check", fx["encrypted"], "-o", ",".join(scrypt), check=False,
            start_new_session=True, stdin=subprocess.DEVNULL)
    assert "passphrase" not in p.stderr


def test_keys_are_not_logged(fx, keys, mounts, tmp):
    m = mounts(fx["encrypted"], f"cache={tmp}/c", f"state={tmp}/s",
               *keys("key-none", "key-scrypt"), args=["-d"])
    for parent, _, files in os.walk(m / "vm"):
        for name in files:
            try:
                listing.sha256_file(os.path.join(parent, name))
            except OSError as e:
                assert e.errno == errno.ENOKEY
    log = m.log() + json.dumps(m.status())
    with open(os.path.join(KEYS, "key-none.json")) as f:
        data = json.load(f)["data"]
    assert data not in log
    assert base64.b64decode(data).hex() not in log
    assert "scrypt-pass" not in log


# The key command.

def test_key_show():
    for name in ("key-none", "key-scrypt", "key-pbkdf2"):
        path = os.path.join(KEYS, name + ".json")
        with open(path) as f:
            want = json.load(f)
        j = json.loads(run("key", "show", "--json", path).stdout)
        assert j["fingerprint"] == want["fingerprint"]
        assert j["kdf"] == name[4:]
        assert j["created"] == want["created"]
        assert j.get("hint") == want.get("hint")
        text = run("key", "show", path).stdout
        assert want["fingerprint"] in text
        assert want["fingerprint"][:23] + "\n" in text


KDFS = {"scrypt": ("Scrypt", {"n": 65536, "r": 8, "p": 1}, 32),
        "pbkdf2": ("PBKDF2", {"iter": 65535}, 32)}


def kdf_parameters(kdf):
    (name, k), = kdf.items()
    salt = base64.b64decode(k.pop("salt"))
    return name, k, len(salt)


@pytest.mark.parametrize("kdf", ["scrypt", "pbkdf2", "none"])
def test_key_create(kdf, tmp):
    path = os.path.join(tmp, "new.json")
    args = ["key", "create", path, "--kdf", kdf]
    env = {"PBS3FS_PASSPHRASE": "five5"}
    run(*args, "--hint", 'say "friend"', env=env)
    assert os.stat(path).st_mode & 0o777 == 0o600
    with open(path) as f:
        text = f.read()
    assert "\n" not in text
    j = json.loads(text)
    assert j["hint"] == 'say "friend"'
    assert j["created"] == j["modified"] and j["created"].endswith("+00:00")
    data = base64.b64decode(j["data"])
    assert len(data) == (32 if kdf == "none" else 64)
    assert j["kdf"] is None if kdf == "none" else \
        kdf_parameters(j["kdf"]) == KDFS[kdf]
    assert j["fingerprint"] == Key.load(path, b"five5").fingerprint
    # A key that is there is never overwritten.
    p = run(*args, env=env, check=False)
    assert p.returncode == 1
    with open(path) as f:
        assert f.read() == text
    p = run("key", "create", path + "2", "--kdf", kdf, check=False,
            env={"PBS3FS_PASSPHRASE": "four"})
    assert p.returncode == (0 if kdf == "none" else 2)


def test_change_passphrase(fx, tmp):
    path = os.path.join(tmp, "k")
    shutil.copy(os.path.join(KEYS, "key-scrypt.json"), path)
    os.chmod(path, 0o600)
    new = write(tmp, "new", "another-one\n")
    old = write(tmp, "old", "scrypt-pass\n")
    args = ["key", "change-passphrase", path, "--new-passphrase-file", new]
    with open(path) as f:
        before = json.load(f)
    p = run(*args, "--passphrase-file", new, check=False)
    assert p.returncode == 5 and "wrong passphrase" in p.stderr
    run(*args, "--passphrase-file", old, "--kdf", "pbkdf2")
    with open(path) as f:
        after = json.load(f)
    assert after["fingerprint"] == before["fingerprint"]
    assert after["created"] == before["created"]
    assert after["kdf"].keys() == {"PBKDF2"}
    assert attempt(fx["encrypted"], f"keyfile={path}",
                   f"passphrase-file={new}")[0] == 0
    assert attempt(fx["encrypted"], f"keyfile={path}",
                   f"passphrase-file={old}")[0] == 5
    run("key", "change-passphrase", path, "--passphrase-file", new, "--kdf",
        "none")
    assert attempt(fx["encrypted"], f"keyfile={path}")[0] == 0


def test_export_paper():
    path = os.path.join(KEYS, "key-scrypt.json")
    lines = run("key", "export-paper", path).stdout.splitlines()
    assert lines[0] == "-----BEGIN PROXMOX BACKUP KEY-----"
    assert lines[-1] == "-----END PROXMOX BACKUP KEY-----"
    with open(path) as f:
        want = json.load(f)
    text = "\n".join(lines[1:-1])
    assert json.loads(text) == want
    assert text == json.dumps(want, indent=2)


def find_rsa_blob(top):
    for parent, _, files in os.walk(os.path.join(top, "ct")):
        if "rsa-encrypted.key.blob" in files:
            return parent
    raise AssertionError("no rsa-encrypted.key.blob")


@pytest.mark.parametrize("protected", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_recover(raw, protected, fx, keys, mounts, tmp):
    """From the master key and the bucket alone to readable data."""
    store = fx["encrypted"]
    snap = find_rsa_blob(store)
    if raw:
        blob = os.path.join(snap, "rsa-encrypted.key.blob")
    else:
        m = mounts(store, f"cache={tmp}/c", f"state={tmp}/s")
        blob = m / f"{os.path.relpath(snap, store)}/rsa-encrypted.key"
    pem = os.path.join(KEYS, "master-private.pem")
    new = write(tmp, "new", "fresh-pass")
    args = ["--new-passphrase-file", new]
    if protected:
        locked = os.path.join(tmp, "locked.pem")
        subprocess.run(["openssl", "pkey", "-in", pem, "-aes256", "-passout",
                        "pass:master-pass", "-out", locked], check=True)
        pem = locked
        p = run("key", "recover", *args, pem, blob, f"{tmp}/key",
                check=False, env={"PBS3FS_PASSPHRASE": "nonsense"})
        assert p.returncode == 5 and "wrong passphrase" in p.stderr
    run("key", "recover", *args, pem, blob, f"{tmp}/key",
        env={"PBS3FS_PASSPHRASE": "master-pass"})
    with open(f"{tmp}/key") as f:
        assert json.load(f)["fingerprint"] == fingerprint("key-scrypt")
    name = os.path.relpath(snap, store)
    p = run("cat", store, f"{name}/pct.conf", "-o",
            f"keyfile={tmp}/key,passphrase-file={new}", check=False)
    assert p.returncode == 0, p.stderr
    assert p.stdout


def test_recover_with_another_key(fx, tmp):
    store = fx["encrypted"]
    blob = os.path.join(find_rsa_blob(store), "rsa-encrypted.key.blob")
    other = os.path.join(tmp, "other.pem")
    subprocess.run(["openssl", "genrsa", "-out", other, "4096"], check=True,
                   stderr=subprocess.DEVNULL)
    p = run("key", "recover", other, blob, f"{tmp}/key", "--kdf=none",
            check=False)
    assert p.returncode == 5
    assert "not encrypted for it" in p.stderr
    assert not os.path.exists(f"{tmp}/key")


def test_holes(fx, keys, mounts, tmp):
    """Zeros are known by their name with the key, and cost nothing."""
    m = mounts(fx["encrypted"], f"cache={tmp}/c", f"state={tmp}/s",
               *keys("key-none"))
    for g in fixtures.expected("encrypted")["groups"]:
        for when, s in check.snapshots(g).items():
            for a in s["archives"]:
                if not a["filename"].endswith(".img.fidx") or \
                        s["manifest"]["unprotected"].get(
                            "key-fingerprint") != fingerprint("key-none"):
                    continue
                path = os.path.join(m.path, check.group_path(g), when,
                                    a["filename"][:-5])
                with open(path, "rb") as f:
                    data = f.read()
                begin = 0
                want = []
                for end, *_ in a["chunks"]:
                    hole = data[begin:end] == bytes(4 << 20)
                    if hole and (not want or want[-1][1] != begin):
                        want.append([begin, end])
                    elif hole:
                        want[-1][1] = end
                    begin = end
                if not want:
                    continue
                fd = os.open(path, os.O_RDONLY)
                got, at = [], 0
                while at < len(data):
                    at = os.lseek(fd, at, os.SEEK_HOLE)
                    if at == len(data):
                        break
                    try:
                        end = os.lseek(fd, at, os.SEEK_DATA)
                    except OSError as e:
                        assert e.errno == errno.ENXIO
                        end = len(data)
                    got.append([at, end])
                    at = end
                os.close(fd)
                assert got == want, path
                return
    pytest.fail("no image with a hole")


def test_made_here(mounts, tmp):
    """The same content three times in one store: plain and with two keys.
    Each reads as itself, and a key opens only its own."""
    top = os.path.join(tmp, "store")
    data = [bytes([i]) * 70000 + os.urandom(30000) for i in range(8)]
    one, two = Key(b"1" * 32), Key(b"2" * 32)
    stores = {"plain": pbsgen.Store(top), "one": pbskey.Store(top, one),
              "two": pbskey.Store(top, two)}
    for name, store in stores.items():
        snap = store.snapshot("vm", name)
        snap.dynamic("d.raw.didx", b"".join(data), 100000)
        snap.blob("x.conf.blob", b"content " * 100)
        snap.finish()
    opts = [f"cache={tmp}/c", f"state={tmp}/s"]
    k1, k2 = one.save(f"{tmp}/k1"), two.save(f"{tmp}/k2")

    def readable(m):
        out = set()
        for name in stores:
            try:
                for file, want in (("d.raw", b"".join(data)),
                                   ("x.conf", b"content " * 100)):
                    with open(m / f"vm/{name}/{T1}/{file}", "rb") as f:
                        assert f.read() == want
                out.add(name)
            except OSError as e:
                assert e.errno == errno.ENOKEY
        assert m.errors() == ""
        return out

    assert readable(mounts(top, *opts)) == {"plain"}
    assert readable(mounts(top, *opts, f"keyfile={k1}")) == {"plain", "one"}
    assert readable(mounts(top, *opts, f"keyfile={k1}:{k2}")) == set(stores)


def test_swapped_chunks(mounts, tmp):
    """A good chunk of the same key in another's place is damage."""
    key = Key(b"k" * 32)
    top = os.path.join(tmp, "store")
    store = pbskey.Store(top, key)
    a, b = b"a" * 4096, b"b" * 4096
    snap = store.snapshot("host", "h")
    snap.dynamic("d.raw.didx", a + b, 4096)
    snap.finish()
    da, db = (store.chunk_path(key.digest(x)) for x in (a, b))
    os.rename(da, da + ".x")
    os.rename(db, da)
    os.rename(da + ".x", db)
    m = mounts(top, f"cache={tmp}/c", f"state={tmp}/s",
               f"keyfile={key.save(tmp + '/k')}")
    with pytest.raises(OSError) as e:
        with open(m / f"host/h/{T1}/d.raw", "rb") as f:
            f.read()
    assert e.value.errno == errno.EIO
    assert m.errors().count("not authentic") == 2


def test_other_table(mounts, tmp):
    """A table of good chunks that the signed manifest does not know."""
    key = Key(b"k" * 32)
    top = os.path.join(tmp, "store")
    snap = pbskey.Store(top, key).snapshot("host", "h")
    snap.dynamic("d.raw.didx", b"a" * 4096 + b"b" * 4096, 4096)
    snap.finish()
    again = pbskey.Store(top, key).snapshot("host", "h")
    again.dynamic("d.raw.didx", b"b" * 4096 + b"a" * 4096, 4096)
    m = mounts(top, f"cache={tmp}/c", f"state={tmp}/s",
               f"keyfile={key.save(tmp + '/k')}")
    with pytest.raises(OSError) as e:
        with open(m / f"host/h/{T1}/d.raw", "rb") as f:
            f.read()
    assert e.value.errno == errno.EIO
    assert "d.raw.didx" in m.errors()


def at_terminal(args, answers, env=None):
    """Runs it at a terminal of its own and types; (status, what was shown)."""
    pid, tty = pty.fork()
    if pid == 0:
        os.environ.update(env or {})
        os.execv(PBS3FS, [PBS3FS, *args])
    shown = b""
    answers = list(answers)
    try:
        while True:
            got = os.read(tty, 4096)
            if not got:
                break
            shown += got
            if answers and shown.endswith(b": "):
                os.write(tty, answers.pop(0).encode() + b"\n")
    except OSError as e:
        if e.errno != errno.EIO:        # that is its end, for a terminal
            raise
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(tty)
    return status, shown.decode()


def test_terminal(fx, scrypt):
    status, shown = at_terminal(
        ["ls", fx["encrypted"], "-o", ",".join(scrypt)],
        ["mistyped", "scrypt-pass"])
    assert status == 0, shown
    assert shown.count("(hint: the hint): ") == 2
    assert "wrong passphrase" in shown
    assert "scrypt-pass" not in shown and "mistyped" not in shown
    status, shown = at_terminal(
        ["ls", fx["encrypted"], "-o", ",".join(scrypt)], ["a", "b", "c"])
    assert status == 5 and shown.count("(hint: the hint): ") == 3


def test_terminal_of_a_daemon(fx, scrypt, tmp):
    """Also a mount that goes into the background asks first."""
    where = os.path.join(tmp, "mnt")
    os.mkdir(where)
    status, shown = at_terminal(
        ["mount", fx["encrypted"], where, "-o", "ro," + ",".join(scrypt)],
        ["scrypt-pass"])
    try:
        assert status == 0, shown
        snap = os.path.relpath(find_rsa_blob(fx["encrypted"]),
                               fx["encrypted"])
        with open(os.path.join(where, snap, "pct.conf")) as f:
            assert f.read()
    finally:
        run("umount", where, check=False)


def test_new_key_at_a_terminal(tmp):
    path = os.path.join(tmp, "k")
    status, shown = at_terminal(["key", "create", path], ["first", "other"])
    assert status == 2 and "differ" in shown
    assert not os.path.exists(path)
    status, shown = at_terminal(["key", "create", path], ["first", "first"])
    assert status == 0, shown
    assert "first" not in shown
    assert Key.load(path, b"first").fingerprint in shown
