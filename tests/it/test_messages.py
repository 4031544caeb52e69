# SPDX-License-Identifier: GPL-3.0-or-later
"""One sentence and a hint for each thing that an administrator gets wrong."""
import os
import subprocess

import pytest

from conftest import write_credentials
from pbs3fs_test.mount import is_mounted, run


@pytest.fixture
def attempt(bucket, tmp):
    """attempt(store=..., drop=..., add=[...]): a mount that must fail in
    time; returns what was said."""
    b = bucket("damaged/ok")
    mnt = os.path.join(tmp, "mnt")
    os.mkdir(mnt)

    def go(store=None, without=(), add=(), env=None, hint="hint: "):
        opts = [o for o in b.options()
                if o.partition("=")[0] not in without]
        p = run("mount", store or b.store, mnt, "-o",
                ",".join(["ro", f"cache={tmp}/c", f"state={tmp}/s",
                          "timeout=5", *opts, *add]),
                check=False, env=env, timeout=60)
        if is_mounted(mnt):
            subprocess.run(["umount", mnt])
            raise AssertionError("it was mounted")
        assert p.returncode != 0
        assert hint in p.stderr, p.stderr
        secret = b.gateway.keys[1]
        assert secret not in p.stderr
        return p.stderr.lower()
    go.bucket = b
    return go


def test_unknown_key(attempt, tmp):
    c = write_credentials(f"{tmp}/key", "AKIDTEST0000000000ZZ", "x" * 40)
    text = attempt(without=["credentials"], add=[f"credentials={c}"])
    assert "access key" in text


def test_wrong_secret(attempt, tmp):
    c = write_credentials(f"{tmp}/key", attempt.bucket.gateway.keys[0],
                          "x" * 40)
    text = attempt(without=["credentials"], add=[f"credentials={c}"])
    assert "secret" in text or "signature" in text


def test_no_bucket(attempt):
    text = attempt(store="s3://no-such-bucket-here/store")
    assert "no-such-bucket-here" in text
    assert "bucket" in text


def test_no_datastore(attempt):
    text = attempt(store=f"s3://{attempt.bucket.name}/nostore")
    assert "nostore" in text


def test_wrong_name(attempt):
    text = attempt(without=["endpoint"],
                   add=["endpoint=http://no-such-host.invalid:80"])
    assert "no-such-host.invalid" in text


def test_refused(attempt):
    text = attempt(without=["endpoint"],
                   add=["endpoint=http://127.0.0.1:1"])
    assert "127.0.0.1" in text
    assert "refused" in text or "connect" in text


def test_plain_http(attempt):
    attempt(without=["insecure-http"], hint="the option insecure-http")


def test_unknown_certificate(attempt):
    g = attempt.bucket.gateway
    text = attempt(without=["endpoint", "insecure-http"],
                   add=[f"endpoint={g.endpoint_tls}"])
    assert "certificate" in text
    assert "fingerprint" in text


def test_wrong_fingerprint(attempt):
    g = attempt.bucket.gateway
    wrong = ":".join(["00"] * 32)
    text = attempt(without=["endpoint", "insecure-http"],
                   add=[f"endpoint={g.endpoint_tls}",
                        f"fingerprint={wrong}"])
    assert "fingerprint" in text


def test_ca_file(bucket, mounts, tmp):
    """The gateway's own certificate as the authority: trusted."""
    b = bucket("damaged/ok")
    opts = [o for o in b.options(tls=True)
            if not o.startswith("fingerprint=")]
    m = mounts(b.store, *opts, f"ca={b.gateway.env['RGW_CA']}",
               f"cache={tmp}/c", f"state={tmp}/s")
    assert os.listdir(m.path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_open_credentials(mode, attempt, tmp):
    """A secret that others can read is refused."""
    c = write_credentials(f"{tmp}/key", *attempt.bucket.gateway.keys,
                          mode=mode)
    text = attempt(without=["credentials"], add=[f"credentials={c}"])
    assert f"{tmp}/key" in text
    assert "chmod" in text


def test_no_credentials(attempt):
    text = attempt(without=["credentials"])
    assert "credentials" in text


def test_environment(bucket, mounts, tmp):
    b = bucket("damaged/ok")
    access, secret = b.gateway.keys
    opts = [o for o in b.options() if not o.startswith("credentials=")]
    m = mounts(b.store, *opts, f"cache={tmp}/c", f"state={tmp}/s",
               env={"AWS_ACCESS_KEY_ID": access,
                    "AWS_SECRET_ACCESS_KEY": secret})
    assert os.listdir(m.path)
    with open(f"/proc/{m.pid}/cmdline", "rb") as f:
        assert secret.encode() not in f.read()
    assert secret not in m.log()


def test_profile(bucket, mounts, tmp):
    """An AWS profile with a program that prints the keys."""
    b = bucket("damaged/ok")
    access, secret = b.gateway.keys
    script = os.path.join(tmp, "keys")
    with open(script, "w") as f:
        f.write("#!/bin/sh\ncat <<'X'\n"
                '{"Version": 1, "AccessKeyId": "%s", '
                '"SecretAccessKey": "%s"}\nX\n' % (access, secret))
    os.chmod(script, 0o700)
    config = os.path.join(tmp, "aws")
    with open(config, "w") as f:
        f.write(f"[profile backup]\ncredential_process = {script}\n")
    os.chmod(config, 0o600)
    opts = [o for o in b.options() if not o.startswith("credentials=")]
    m = mounts(b.store, *opts, f"cache={tmp}/c", f"state={tmp}/s",
               env={"AWS_CONFIG_FILE": config, "AWS_PROFILE": "backup",
                    "AWS_SHARED_CREDENTIALS_FILE": f"{tmp}/none"})
    assert os.listdir(m.path)


def test_debug_shows_no_secret(bucket, mounts, tmp):
    b = bucket("damaged/ok")
    m = mounts(b.store, *b.options(), f"cache={tmp}/c", f"state={tmp}/s",
               args=["-d"])
    os.listdir(m / "host/h1")
    assert b.gateway.keys[1] not in m.log()
    assert "Signature=" not in m.log()


def test_virtual_host(bucket, mounts, tmp):
    """The bucket in the host name, also by a template."""
    b = bucket("damaged/ok")
    port = b.gateway.endpoint.rpartition(":")[2]
    opts = [o for o in b.options()
            if o != "path-style" and not o.startswith("endpoint=")]
    for endpoint in (f"http://localhost:{port}",
                     f"http://{{{{bucket}}}}.localhost:{port}"):
        m = mounts(b.store, *opts, f"endpoint={endpoint}",
                   f"cache={tmp}/c", f"state={tmp}/s")
        assert os.listdir(m / "host/h1")
        m.stop()
