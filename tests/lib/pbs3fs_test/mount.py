# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts that are ready when they are handed out and gone afterwards."""
import json
import os
import re
import signal
import subprocess
import time

from .paths import PBS3FS, SLOW

SANITIZER = re.compile(
    r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
    r"Assertion .* failed|^==\d+== (Invalid|Conditional|Use of)", re.M)


def run(*args, check=True, env=None, timeout=120, **kw):
    """pbs3fs ARGS; stdout and stderr as text unless text=False is given.
    With check=False it may fail, but never crash."""
    kw.setdefault("text", True)
    full = dict(os.environ)
    full.update(env or {})
    p = subprocess.run([PBS3FS, *args], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, env=full,
                       timeout=timeout * SLOW, **kw)
    said = p.stderr if kw["text"] else p.stderr.decode(errors="replace")
    if p.returncode < 0 or SANITIZER.search(said) or \
            (check and p.returncode != 0):
        raise AssertionError(f"pbs3fs {' '.join(args)}: exit status "
                             f"{p.returncode}\n{said}")
    return p


def wait_for(condition, seconds, what):
    """Until condition() is true; AssertionError after that many seconds."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)


def is_mounted(path):
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[4] == path for line in f)


class Mount:
    """
    A daemon in the foreground, so that its end, its exit status and its log
    are seen.
    """
    def __init__(self, store, where, opts=(), env=None, user=None,
                 log=None, args=(), mode="ro"):
        self.path = where
        self.store = store
        os.makedirs(where, exist_ok=True)
        self.log_path = log or where.rstrip("/") + ".log"
        self.opts = [mode, *opts]
        command = [PBS3FS, "mount", "-f", *args, store, where,
                   "-o", ",".join(self.opts)]
        if user:
            os.chown(where, user, user)
            command = ["setpriv", f"--reuid={user}", f"--regid={user}",
                       "--clear-groups", *command]
        full = dict(os.environ)
        full.update(env or {})
        self._log = open(self.log_path, "ab")
        self.proc = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log,
            stderr=self._log, env=full, start_new_session=True)
        try:
            wait_for(self._ready, 30, f"{store} to be mounted")
        except AssertionError:
            self.kill()
            raise AssertionError(f"{store} was not mounted:\n{self.log()}")

    def _ready(self):
        if self.proc.poll() is not None:
            raise AssertionError("the daemon ended")
        return is_mounted(self.path)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop(check=kind is None)

    def __truediv__(self, rel):
        return os.path.join(self.path, rel)

    @property
    def pid(self):
        return self.proc.pid

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def status(self):
        with open(self / ".pbs3fs/status.json") as f:
            return json.load(f)

    def errors(self):
        with open(self / ".pbs3fs/errors", errors="surrogateescape") as f:
            return f.read()

    def requests(self):
        """The daemon's own count by verb."""
        return dict(self.status()["requests"])

    def _memory(self, what):
        with open(f"/proc/{self.pid}/status") as f:
            for line in f:
                if line.startswith(what + ":"):
                    return int(line.split()[1]) << 10
        raise AssertionError("no " + what)

    def rss(self):
        """Resident memory in bytes."""
        return self._memory("VmRSS")

    def peak(self):
        """The most that it ever was."""
        return self._memory("VmHWM")

    def drop_caches(self):
        """The kernel forgets what it has of the mount."""
        subprocess.run(["sync"], check=True)
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3")

    def stop(self, check=True):
        """Ends the daemon as a system manager does, and looks at its log."""
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"SIGTERM was ignored:\n{self.log()}")
        self._log.close()
        if is_mounted(self.path):
            subprocess.run(["umount", "-l", self.path], check=False)
            if check:
                raise AssertionError(f"still mounted:\n{self.log()}")
        if not check:
            return
        assert not SANITIZER.search(self.log()), self.log()
        assert self.proc.returncode == 0, \
            f"exit status {self.proc.returncode}:\n{self.log()}"

    def kill(self):
        """SIGKILL, and the dead mount out of the way."""
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        while is_mounted(self.path):
            if subprocess.run(["umount", "-l", self.path]).returncode:
                break


class Mounts:
    """Hands out mounts below one directory and ends them all."""
    def __init__(self, directory):
        self.dir = directory
        self.all = []

    def __call__(self, store, *opts, name=None, **kw):
        name = name or f"mnt{len(self.all)}"
        m = Mount(store, os.path.join(self.dir, name), opts, **kw)
        self.all.append(m)
        return m

    def stop(self, check=True):
        failures = []
        for m in self.all:
            try:
                if m.proc.returncode is None:
                    m.stop(check)
            except AssertionError as e:
                failures.append(str(e))
        self.all = []
        if failures:
            raise AssertionError("\n".join(failures))

    def abort(self):
        """From a watchdog: whoever hangs in a mount gets an error."""
        for m in self.all:
            if m.proc.poll() is None:
                m.proc.kill()
