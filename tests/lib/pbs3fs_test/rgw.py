# SPDX-License-Identifier: GPL-3.0-or-later
"""A Ceph radosgw for the tests, filled with boto3, its requests counted."""
import collections
import concurrent.futures
import os
import re
import subprocess
import threading
import time
import urllib.parse

import boto3
import botocore.config

from .paths import LIB

REGION = "us-east-1"
Request = collections.namedtuple("Request", "verb bucket key query status")
_LINE = re.compile(
    r' beast: .*?\] "(\w+) (\S+) HTTP/[\d.]+" (\d+) ')


class Rgw:
    def __init__(self, directory):
        self.dir = directory
        self.env = {}
        self._local = threading.local()

    def sh(self, command, check=True):
        p = subprocess.run([os.path.join(LIB, "rgw.sh"), command, self.dir],
                           stdout=subprocess.PIPE, check=check, text=True)
        for line in p.stdout.splitlines():
            key, _, value = line.partition("=")
            self.env[key] = value
        return p.returncode

    def up(self):
        self.sh("up")
        return self

    def down(self):
        self.sh("down")

    @property
    def endpoint(self):
        return self.env["RGW_ENDPOINT"]

    @property
    def endpoint_tls(self):
        return self.env["RGW_ENDPOINT_TLS"]

    @property
    def fingerprint(self):
        return self.env["RGW_FINGERPRINT"]

    @property
    def keys(self):
        return self.env["RGW_ACCESS_KEY"], self.env["RGW_SECRET_KEY"]

    @property
    def keys_2(self):
        return self.env["RGW_ACCESS_KEY_2"], self.env["RGW_SECRET_KEY_2"]

    def client(self):
        """A boto3 client for this thread."""
        if not hasattr(self._local, "client"):
            access, secret = self.keys
            session = boto3.session.Session()
            self._local.client = session.client(
                "s3", endpoint_url=self.endpoint, region_name=REGION,
                aws_access_key_id=access, aws_secret_access_key=secret,
                config=_config())
        return self._local.client

    def load(self, bucket, objects):
        """A fresh bucket with these (key, path or bytes)."""
        self.client().create_bucket(Bucket=bucket)

        def put(item):
            key, body = item
            if isinstance(body, str):
                with open(body, "rb") as f:
                    body = f.read()
            self.client().put_object(Bucket=bucket, Key=key, Body=body)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(put, objects))

    def mark(self, settle=0.3):
        """The present end of the request log, once what was begun is in."""
        time.sleep(settle)
        return os.path.getsize(self.env["RGW_LOG"])

    def requests(self, since, settle=0.3):
        """Requests logged after `since`.  A line is written when the reply
        is out, so the last ones may be a moment late."""
        time.sleep(settle)
        with open(self.env["RGW_LOG"], "rb") as f:
            f.seek(since)
            text = f.read().decode("utf-8", "replace")
        found = []
        for m in _LINE.finditer(text):
            verb, target, status = m.groups()
            path, _, query = target.partition("?")
            bucket, _, key = path.lstrip("/").partition("/")
            found.append(Request(verb, bucket, urllib.parse.unquote(key),
                                 query, int(status)))
        return found

    def counts(self, since, **kw):
        """Requests after `since` by verb; a GET that lists counts as LIST."""
        return count_verbs(self.requests(since, **kw))


def count_verbs(requests):
    c = collections.Counter()
    for r in requests:
        listing = r.verb == "GET" and not r.key
        c["LIST" if listing else r.verb] += 1
    return dict(c)


def _config():
    kw = dict(s3={"addressing_style": "path"}, retries={"max_attempts": 2},
              signature_version="s3v4")
    try:        # newer versions send checksums that radosgw does not take
        return botocore.config.Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required", **kw)
    except TypeError:
        return botocore.config.Config(**kw)
