# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands beside mount: what they print, and how they end."""
import json
import os
import re
import subprocess

import pytest

from conftest import need
from pbs3fs_test import check, fixtures, listing
from pbs3fs_test.mount import run
from pbs3fs_test.paths import PBS3FS, TOP

COMMANDS = ["mount", "umount", "ls", "cat", "export", "check", "refresh",
            "status"]
VM = "vm/100/2024-01-01T00:00:00Z"


@pytest.fixture
def ok(fx):
    return os.path.join(fx["damaged"], "ok")


def test_version():
    assert re.fullmatch(r"pbs3fs \d+\.\d+\.\d+.*\n", run("--version").stdout)
    assert run("-V").stdout == run("--version").stdout


def test_help():
    text = run("--help").stdout
    for c in COMMANDS:
        assert re.search(rf"^\s+{c}\b", text, re.M), c
        own = run(c, "--help").stdout
        assert c in own
        assert own.isascii()


def test_usage():
    for args in ((), ("nonsense",), ("ls",), ("mount", "x"),
                 ("ls", "--nonsense", "/tmp")):
        p = run(*args, check=False)
        assert p.returncode == 2, args
        assert p.stderr
    assert "umount" in run("unmount", "/x", check=False).stderr


def test_documented():
    """Every option of --help is in a manual page."""
    pages = ""
    for parent, _, files in os.walk(os.path.join(TOP, "doc")):
        for f in files:
            if re.search(r"\.[1578]$", f):
                with open(os.path.join(parent, f)) as page:
                    pages += page.read()
    need(pages, "the manual pages")
    pages = pages.replace("\\-", "-").replace("\\&", "")
    missing = []
    for c in COMMANDS:
        assert c in pages
        for name in re.findall(r"--([a-z][a-z0-9-]+)",
                               run(c, "--help").stdout):
            if not re.search(rf"(Fl Fl |--|\b){name}\b", pages):
                missing.append((c, name))
    assert not missing


def test_ls(ok):
    assert run("ls", ok).stdout.split() == ["host", "vm"]
    assert run("ls", ok, "host/h1").stdout.split()[:2] == \
        ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]
    names = run("ls", ok, VM).stdout.split()
    assert names == ["client.log", "drive-scsi0.img", "index.json",
                     "qemu-server.conf"]
    long = run("ls", "-l", ok, VM).stdout
    assert re.search(r"9438208\b.*drive-scsi0\.img", long)


def test_ls_is_the_mount(fx, mounts, tmp):
    """ls --json of each directory is what the mount shows."""
    m = mounts(fx["plain"], f"cache={tmp}/c", f"state={tmp}/s")
    for rel in ("", "ns/a", "vm/100", "vm/100/2024-01-03T00:00:00Z",
                "host/myhost/2024-01-01T00:00:00Z".replace(
                    "00:00:00Z", "00:00:07Z") + "/root/special"):
        rows = json.loads(run("ls", "--json", fx["plain"], rel or "/").stdout)
        rows = rows["entries"] if isinstance(rows, dict) else rows
        got = {r["name"]: r for r in rows}
        want = set(os.listdir(m / rel)) - {".pbs3fs"}
        assert got.keys() - {".pbs3fs"} == want, rel
        for name in want:
            st = os.lstat(os.path.join(m / rel, name))
            assert got[name]["size"] == st.st_size or os.path.isdir(
                os.path.join(m / rel, name)), name


def test_ls_missing(ok):
    p = run("ls", ok, "host/nobody", check=False)
    assert p.returncode == 1
    assert "host/nobody" in p.stderr


def test_cat(ok):
    assert run("cat", ok, "host/h1/latest/root/etc/hostname").stdout
    p = run("cat", ok, "host/h1/latest/root/etc", check=False)
    assert p.returncode == 1
    assert "directory" in p.stderr


def test_damage_is_an_error(fx, tmp):
    """A stream that cannot be complete must not look complete."""
    bad = os.path.join(fx["damaged"], "chunk-missing")
    p = run("cat", bad, "host/h1/latest/root/var/log/big.log", check=False,
            text=False)
    assert p.returncode == 3
    p = run("export", bad, "host/h1/latest/root", check=False, text=False)
    assert p.returncode == 3
    assert b"big.log" in p.stderr
    bad = os.path.join(fx["damaged"], "chunk-vm-missing")
    p = run("export", bad, VM + "/drive-scsi0.img", check=False, text=False)
    assert p.returncode == 3


def test_export_to_full_disk(ok):
    with open("/dev/full", "w") as full:
        p = subprocess.run([PBS3FS, "export", ok, VM + "/drive-scsi0.img"],
                           stdout=full, stderr=subprocess.PIPE, text=True)
    assert p.returncode == 1
    assert "space" in p.stderr


def test_export_opens_elsewhere(fx, tmp):
    """GNU tar unpacks it to the same tree."""
    path = "host/h1/2024-01-01T00:00:00Z/root"
    out = os.path.join(tmp, "out")
    os.mkdir(out)
    tar = os.path.join(tmp, "tar")
    with open(tar, "wb") as f:
        f.write(run("export", os.path.join(fx["damaged"], "ok"), path,
                    text=False).stdout)
    subprocess.run(["tar", "--numeric-owner", "--xattrs",
                    "--xattrs-include=*", "--acls", "-xpf", tar, "-C", out],
                   check=True)
    for g in fixtures.expected("damaged")["ok"]["groups"]:
        if g["group"] == "host/h1":
            a = check.merged(check.snapshots(g)["2024-01-01T00:00:00Z"])
            want = listing.from_expected(a["root"][1]["pxar"])
    got = listing.from_directory(out)
    if b"/" in got and b"/root" in got:
        got = {p[5:] or b"/": r for p, r in got.items() if p != b"/"}
    listing.assert_same(want, got, "unpacked")


def test_check(bucket, tmp):
    b = bucket("damaged/ok")
    opts = ",".join([f"cache={tmp}/c", f"state={tmp}/s", *b.options()])
    p = run("check", b.store, "-o", opts)
    for word in ("list", "range", "clock"):
        assert word in p.stdout.lower()
    doc = json.loads(run("check", b.store, "--json", "-o", opts).stdout)
    assert doc
    p = run("check", "s3://no-such-bucket/store", "-o", opts, check=False)
    assert p.returncode != 0


def test_status(ok, mounts, tmp):
    m = mounts(ok, f"cache={tmp}/c", f"state={tmp}/s")
    os.listdir(m / VM)
    doc = json.loads(run("status", "--json", m.path).stdout)
    assert doc["requests"].keys() == m.status()["requests"].keys()
    assert run("status", m.path).stdout


def test_metrics(ok, mounts, tmp):
    """Prometheus text: a type for each name, numbers for values."""
    m = mounts(ok, f"cache={tmp}/c", f"state={tmp}/s")
    os.listdir(m / VM)
    with open(m / ".pbs3fs/metrics") as f:
        text = f.read()
    types = set(re.findall(r"^# TYPE (\w+) (?:counter|gauge)$", text, re.M))
    assert types
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = re.fullmatch(
                r"(\w+)(?:\{[^}]*\})? (\S+)", line).groups()
            assert name in types, name
            float(value)


def test_configuration(fx, mounts, tmp):
    """A store by the name of its section."""
    conf = os.path.join(tmp, "conf")
    with open(conf, "w") as f:
        f.write(f"[mine]\nbackend = dir\npath = {fx['damaged']}/ok\n"
                f"cache = {tmp}/c\nstate = {tmp}/s\n")
    out = run("ls", "--config", conf, "mine").stdout
    assert out.split() == ["host", "vm"]
    p = run("ls", "--config", conf, "other", check=False)
    assert p.returncode != 0
    assert "other" in p.stderr


def test_bad_configuration(tmp):
    conf = os.path.join(tmp, "conf")
    for text, word in (("[a]\nbackend = nothing\n", "backend"),
                       ("[a]\ncache-size = many\n", "cache-size"),
                       ("[a]\nno-such-thing = 1\n", "no-such-thing")):
        with open(conf, "w") as f:
            f.write(text)
        p = run("ls", "--config", conf, "a", check=False)
        assert p.returncode != 0
        assert word in p.stderr, p.stderr
