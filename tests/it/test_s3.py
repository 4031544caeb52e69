# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that misbehave: what is transient is tried again, what is not is
said; nothing of it is ever taken for damage."""
import errno
import os
import subprocess

import pytest

from conftest import write_credentials
from pbs3fs_test import check, fixtures
from pbs3fs_test.mount import is_mounted, run, wait_for
from pbs3fs_test.script import ACCESS, SECRET, Script

VM = "vm/100/2024-01-01T00:00:00Z"
LOG = "host/h1/2024-01-01T00:00:00Z/root/var/log/big.log"
CHUNK = "97660383bc7688867ce5f1f81e5dc30106eed2a72834efb067d49781c52b9eb8"


@pytest.fixture
def server(fx):
    with Script() as s:
        s.load(fixtures.store_objects(os.path.join(fx["damaged"], "ok"),
                                      "store"))
        yield s


@pytest.fixture
def options(server, tmp):
    c = write_credentials(f"{tmp}/key", ACCESS, SECRET)
    return [f"endpoint={server.endpoint}", "insecure-http", "path-style",
            "region=us-east-1", f"credentials={c}", f"cache={tmp}/c",
            f"state={tmp}/s", "timeout=20"]


@pytest.fixture
def mount(server, options, mounts):
    return lambda *more: mounts("s3://scripted/store", *options, *more)


@pytest.fixture(scope="module")
def good(fx, scratch):
    """What the datastore reads as, from its directory."""
    from pbs3fs_test.mount import Mount
    with Mount(os.path.join(fx["damaged"], "ok"),
               os.path.join(scratch, "good-s3"),
               [f"cache={scratch}/g3c", f"state={scratch}/g3s"]) as m:
        return check.failures(m / "host"), check.failures(m / "vm")


def everything(m):
    return check.failures(m / "host"), check.failures(m / "vm")


TRANSIENT = {
    "slow down": {"every": 4, "status": 503, "code": "SlowDown",
                  "headers": {"Retry-After": "0"}},
    "internal error": {"every": 4, "status": 500, "code": "InternalError"},
    "bad gateway": {"every": 5, "status": 502, "body": "<html>oops</html>"},
    "gateway timeout": {"every": 5, "status": 504, "body": ""},
    "too many": {"every": 5, "status": 429, "body": ""},
    "closed before": {"every": 4, "drop": "before"},
    "closed in headers": {"every": 4, "drop": "headers"},
    "short body": {"verb": "GET", "every": 4, "truncate": 20},
    "slow": {"every": 8, "delay": 0.3},
    "200 with an error": {"verb": "LIST", "count": 1, "status": 200,
                          "code": "InternalError"},
}


@pytest.mark.sanitize
@pytest.mark.parametrize("what", TRANSIENT)
def test_transient(what, server, mount, good):
    server.rules(TRANSIENT[what])
    m = mount()
    assert everything(m) == good
    assert m.errors() == ""
    assert set(server.counts()) <= {"GET", "HEAD", "LIST"}


TOLERATED = {
    "no date": {"omit": ["Date"]},
    "no etag in answers": {"verb": "GET", "omit": ["ETag"]},
    "no content type": {"omit": ["Content-Type"]},
    "no length": {"verb": "GET", "omit": ["Content-Length"]},
    "bare list": {"verb": "LIST", "omit": [
        "KeyCount", "Name", "StorageClass", "MaxKeys", "Prefix"]},
    "list without etag": {"verb": "LIST", "omit": ["ETag"]},
    "list without dates": {"verb": "LIST", "omit": ["LastModified"]},
    "encoded keys": {"verb": "LIST", "encode": True},
    "pages of three": {"verb": "LIST", "page": 3},
    "no token": {"verb": "LIST", "page": 3, "no_token": True},
    "ranges ignored": {"verb": "GET", "whole": True},
}


@pytest.mark.parametrize("what", TOLERATED)
def test_tolerated(what, server, mount, good):
    server.rules(TOLERATED[what])
    m = mount()
    assert everything(m) == good
    assert m.errors() == ""


def test_list_that_never_ends(server, options, tmp):
    """The same page for ever: an error, not a loop."""
    server.rules({"verb": "LIST", "page": 3, "same_token": True})
    p = run("ls", "s3://scripted/store", "-o", ",".join(options), check=False,
            timeout=60)
    assert p.returncode != 0
    assert server.counts()["LIST"] < 20


def test_flipped_once(server, mount, good):
    """Bytes that came wrong once: fetched again, and not damaged."""
    server.rules({"verb": "GET", "key": f"*{CHUNK}", "count": 1, "flip": 100})
    m = mount()
    assert everything(m) == good
    assert m.errors() == ""
    gets = [r for r in server.log() if r["key"].endswith(CHUNK)]
    assert len(gets) == 2


def test_flipped_always(server, mount):
    server.rules({"verb": "GET", "key": f"*{CHUNK}", "flip": 100})
    m = mount()
    failed, _ = check.failures(m / "host")
    assert len(failed) == 2
    assert CHUNK in m.errors()
    # When the object is mended, so is the file, a few seconds later.
    server.rules()
    wait_for(lambda: check.failures(m / "host")[0] == {}, 20, "the file")


def test_transport_is_not_damage(server, mount):
    """A server that always breaks off says nothing about the data."""
    m = mount("timeout=3", "retries=2")
    os.listdir(m / VM)
    server.rules({"verb": "GET", "key": f"*{CHUNK}", "drop": "headers"})
    with pytest.raises(OSError) as e:
        with open(m / LOG, "rb") as f:
            f.read()
    assert e.value.errno == errno.EIO
    assert m.errors() == ""
    server.rules()
    wait_for(lambda: reads(m / LOG), 10, "it to be asked again")
    assert m.errors() == ""


def reads(path):
    try:
        with open(path, "rb") as f:
            return len(f.read()) == 700000
    except OSError:
        return False


@pytest.fixture
def refused(options, tmp):
    """A mount that must not come about; what was said."""
    def go(*more, status=None):
        mnt = os.path.join(tmp, "mnt")
        os.makedirs(mnt, exist_ok=True)
        p = run("mount", "s3://scripted/store", mnt, "-o",
                ",".join(["ro", *options, "timeout=5", *more]), check=False)
        if is_mounted(mnt):
            subprocess.run(["umount", mnt])
            raise AssertionError("it was mounted")
        assert p.returncode != 0
        assert "hint: " in p.stderr, p.stderr
        assert SECRET not in p.stderr
        return p.stderr.lower()
    return go


def test_clock(server, refused):
    server.rules({"status": 403, "code": "RequestTimeTooSkewed",
                  "message": "The difference is too large.", "clock": -7200})
    assert "clock" in refused()


def test_region(server, refused):
    server.rules({"status": 400, "code": "AuthorizationHeaderMalformed",
                  "message": "expecting eu-1", "region": "eu-1",
                  "headers": {"x-amz-bucket-region": "eu-1"}})
    text = refused()
    assert "region" in text and "eu-1" in text


def test_moved(server, refused):
    server.rules({"status": 301, "code": "PermanentRedirect",
                  "headers": {"x-amz-bucket-region": "eu-1"}})
    text = refused()
    assert "region" in text and "eu-1" in text


def test_archived(server, mount):
    """An object in cold storage: a sentence that says so."""
    server.rules({"verb": "GET", "key": f"*{CHUNK}", "status": 403,
                  "code": "InvalidObjectState", "message": "archived"})
    m = mount()
    with pytest.raises(OSError) as e:
        with open(m / LOG, "rb") as f:
            f.read()
    assert e.value.errno == errno.EIO
    assert "archive" in m.log().lower() or "storage class" in m.log().lower()
    assert m.errors() == ""


def test_garbage_list(server, options):
    """What is no XML, or hostile XML, is an error and nothing worse."""
    bomb = ('<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
            + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">'
                      for i in range(9))
            + ']><ListBucketResult><Contents><Key>&j;</Key></Contents>'
            '</ListBucketResult>')
    passwd = ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
              "<ListBucketResult><Contents><Key>&a;</Key></Contents>"
              "</ListBucketResult>")
    for body in ("", "no xml", "<a>", "<ListBucketResult/>", bomb, passwd,
                 "<x>" * 100000, "\0\xff"):
        server.rules({"verb": "LIST", "status": 200, "body": body})
        p = run("ls", "s3://scripted/store", "-o",
                ",".join([*options, "retries=1", "timeout=5"]), check=False,
                timeout=60)
        assert p.returncode > 0, body[:20]
        assert "root:" not in p.stderr + p.stdout


def test_limits(server, options):
    """A bound on requests holds."""
    p = run("export", "s3://scripted/store", f"{VM}/drive-scsi0.img", "-o",
            ",".join([*options, "max-requests=3"]), check=False, text=False)
    assert p.returncode != 0
    assert b"max-requests" in p.stderr
    assert sum(server.counts().values()) <= 3


@pytest.mark.parametrize("closed", [(1,), (0, 1), (2,), (0, 1, 2)])
def test_closed_descriptors(closed, server, options, tmp):
    """What is meant for a closed output reaches no socket and no file."""
    def close():
        for fd in closed:
            os.close(fd)
    path = f"{VM}/index.json"
    p = run("cat", "s3://scripted/store", path, "nothing", "-o",
            ",".join(options), check=False, preexec_fn=close)
    assert p.returncode == 1
    if 2 not in closed:
        assert "standard output" in p.stderr
    if closed == (2,):
        assert '"backup-id"' in p.stdout
    again = run("cat", "s3://scripted/store", path, "-o", ",".join(options))
    assert '"backup-id"' in again.stdout
