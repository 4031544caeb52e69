# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripted S3 server: misbehaves on order, counts what arrives."""
import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request

from .paths import LIB

ACCESS, SECRET = "AKIDSCRIPT0000000000", "script-secret"


class Script:
    def __init__(self, *args, bucket="scripted"):
        self.bucket = bucket
        self.proc = subprocess.Popen(
            [sys.executable, os.path.join(LIB, "s3script.py"),
             "--key", f"{ACCESS}:{SECRET}", "--bucket", bucket, *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.proc.stdout.readline().split()[1])
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.stdin.close()
        self.proc.wait(10)
        self.proc.stdout.close()

    def _call(self, method, path, body=None):
        r = urllib.request.Request(self.endpoint + path, data=body,
                                   method=method)
        with urllib.request.build_opener(
                urllib.request.ProxyHandler({})).open(r) as f:
            return f.read()

    def load(self, objects):
        for key, body in objects:
            if isinstance(body, str):
                with open(body, "rb") as f:
                    body = f.read()
            self._call("PUT", f"/_object/{self.bucket}/"
                       + urllib.parse.quote(key), body)

    def rules(self, *rules):
        self._call("POST", "/_script", json.dumps(rules).encode())

    def counts(self):
        """What arrived, by verb, without what did not."""
        c = json.loads(self._call("GET", "/_counts"))
        return {k: v for k, v in c.items()
                if v and k not in ("total", "connections", "begun")}

    def reset(self):
        self._call("DELETE", "/_counts")

    def log(self):
        return json.loads(self._call("GET", "/_log"))
