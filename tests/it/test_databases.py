# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's and Bacula's own tools, writing into the mount."""
import glob
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from conftest import need
from pbs3fs_test import pbsgen
from test_tools import sh, work  # noqa: F401

pytestmark = [
    pytest.mark.timeout(300),
    # What they do to the mount is the same, wherever it goes.
    pytest.mark.parametrize("work", ["dir"], indirect=True),
]


def postgres_bin():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    need(found, "postgresql")
    return found[-1]


class Cluster:
    """A PostgreSQL server of the test's own, behind a socket."""
    def __init__(self, directory, owner="postgres"):
        self.bin = postgres_bin()
        self.owner = owner
        self.dir = directory
        os.makedirs(directory)
        shutil.chown(directory, owner, owner)
        os.chmod(directory, 0o755)
        self.data = os.path.join(directory, "data")
        self.run("initdb", "-A", "trust", "-N", "-D", self.data)

    def run(self, tool, *args, **kw):
        env = dict(os.environ, PGHOST=self.dir, PGUSER=self.owner)
        return sh("setpriv", f"--reuid={self.owner}", f"--regid={self.owner}",
                  "--init-groups", os.path.join(self.bin, tool), *args,
                  env=env, cwd=self.dir, **kw)

    def start(self, *settings, data=None):
        data = data or self.data
        with open(os.path.join(data, "postgresql.conf"), "a") as f:
            f.write("\n".join(("", "listen_addresses = ''",
                               f"unix_socket_directories = '{self.dir}'",
                               *settings, "")))
        self.run("pg_ctl", "-w", "-D", data,
                 "-l", os.path.join(self.dir, "log"), "start")

    def stop(self, data=None):
        self.run("pg_ctl", "-w", "-m", "fast", "-D", data or self.data,
                 "stop")

    def sql(self, text, db="postgres"):
        return self.run("psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", db,
                        "-c", text).strip()


def test_postgres(work, tmp):  # noqa: F811
    """pg_dump in both forms, a base backup with archived WAL, a restore."""
    db = Cluster(os.path.join(tmp, "pg"))
    wal = os.path.join(work.tree, "wal")
    for d in (wal, os.path.join(work.tree, "dumps"),
              os.path.join(work.tree, "base")):
        os.mkdir(d)
        shutil.chown(d, "postgres", "postgres")
    os.chmod(os.path.join(work.tree, "base"), 0o700)
    db.start("archive_mode = on", "wal_level = replica",
             f"archive_command = 'test ! -f {wal}/%f && cp %p {wal}/%f.tmp "
             f"&& sync {wal}/%f.tmp && mv {wal}/%f.tmp {wal}/%f'")
    try:
        db.sql("create table t as select n, md5(n::text) as m "
               "from generate_series(1, 20000) n")
        dumps = os.path.join(work.tree, "dumps")
        db.run("pg_dump", "-Fc", "-f", dumps + "/one.dump", "postgres")
        db.run("pg_dump", "-Fd", "-j2", "-f", dumps + "/dir", "postgres")
        for form in ("/one.dump", "/dir"):
            db.sql("create database back")
            db.run("pg_restore", "--exit-on-error", "-d", "back",
                   dumps + form)
            assert db.sql("select count(*), min(m) from t", "back") == \
                db.sql("select count(*), min(m) from t")
            db.sql("drop database back")
        base = os.path.join(work.tree, "base")
        db.run("pg_basebackup", "-D", base, "-X", "stream", "-c", "fast")
        db.run("pg_verifybackup", base)
        db.sql("insert into t select n, 'later' from "
               "generate_series(1, 500) n")
        db.sql("select pg_switch_wal()")
        end = time.monotonic() + 60
        while not any(re.fullmatch("[0-9A-F]{24}", n)
                      for n in os.listdir(wal)):
            assert time.monotonic() < end, "no WAL was archived"
            time.sleep(0.2)
    finally:
        db.stop()
    assert not any(n.endswith(".tmp") for n in os.listdir(wal))
    work.published()


def test_pg_receivewal(work, tmp):  # noqa: F811
    """Preallocates segments, writes into them, renames when they are full."""
    db = Cluster(os.path.join(tmp, "pg"))
    shutil.chown(work.tree, "postgres", "postgres")
    db.start("wal_level = replica")
    try:
        p = subprocess.Popen(
            ["setpriv", "--reuid=postgres", "--regid=postgres",
             "--init-groups", os.path.join(db.bin, "pg_receivewal"),
             "-D", work.tree, "--synchronous", "-h", db.dir, "-U",
             "postgres", "-n"], stderr=subprocess.PIPE, text=True)
        try:
            db.sql("create table t as select generate_series(1, 1000) n")
            end = time.monotonic() + 60
            while not any(n.endswith(".partial")
                          for n in os.listdir(work.tree)):
                assert p.poll() is None, p.stderr.read()
                assert time.monotonic() < end, "pg_receivewal wrote nothing"
                time.sleep(0.1)
            db.sql("select pg_switch_wal(); insert into t values(1)")
            while not any(re.fullmatch("[0-9A-F]{24}", n)
                          for n in os.listdir(work.tree)):
                assert p.poll() is None, p.stderr.read()
                assert time.monotonic() < end, "no segment was finished"
                time.sleep(0.1)
        finally:
            p.terminate()
            p.communicate()
    finally:
        db.stop()
    done = sorted(n for n in os.listdir(work.tree)
                  if re.fullmatch("[0-9A-F]{24}", n))
    segment = os.path.join(work.tree, done[0])
    assert os.path.getsize(segment) == 16 << 20
    sh(os.path.join(db.bin, "pg_waldump"), "-q", segment)
    work.published()


def free_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
    s.close()
    return port


BACULA = """
Director {{
  Name = dir; DIRport = {dir}; DirAddress = 127.0.0.1
  QueryFile = "/etc/bacula/scripts/query.sql"
  WorkingDirectory = "{tmp}"; PidDirectory = "{tmp}"
  Maximum Concurrent Jobs = 1; Password = "p"; Messages = m
}}
Catalog {{ Name = c; dbname = "bacula"; dbuser = "bacula"; dbpassword = "" }}
Messages {{ Name = m; console = all; append = "{tmp}/messages" = all }}
Client {{ Name = fd; Address = 127.0.0.1; FDPort = {fd}; Catalog = c
  Password = "p"; AutoPrune = no }}
Storage {{ Name = sd; Address = 127.0.0.1; SDPort = {sd}; Password = "p"
  Device = file; Media Type = File }}
FileSet {{ Name = f; Include {{ Options {{ signature = MD5 }}
  File = {source} }} }}
Pool {{ Name = Default; Pool Type = Backup; Recycle = yes; AutoPrune = no }}
Job {{ Name = save; Type = Backup; Level = Full; Client = fd; FileSet = f
  Storage = sd; Pool = Default; Messages = m }}
Job {{ Name = restore; Type = Restore; Client = fd; FileSet = f
  Storage = sd; Pool = Default; Messages = m; Where = {back} }}
"""
STORAGE = """
Storage {{ Name = sd; SDPort = {sd}; SDAddress = 127.0.0.1
  WorkingDirectory = "{tmp}"; Pid Directory = "{tmp}" }}
Director {{ Name = dir; Password = "p" }}
Device {{ Name = file; Media Type = File; Archive Device = {volumes}
  LabelMedia = yes; Random Access = yes; AutomaticMount = yes
  RemovableMedia = no; AlwaysOpen = no }}
Messages {{ Name = m; director = dir = all }}
"""
FILED = """
Director {{ Name = dir; Password = "p" }}
FileDaemon {{ Name = fd; FDport = {fd}; FDAddress = 127.0.0.1
  WorkingDirectory = "{tmp}"; Pid Directory = "{tmp}" }}
Messages {{ Name = m; director = dir = all }}
"""
CONSOLE = """
Director {{ Name = dir; DIRport = {dir}; address = 127.0.0.1
  Password = "p" }}
"""


class Bacula:
    """All of Bacula, as the user that owns nothing but its directory."""
    def __init__(self, tmp, volumes, source, back):
        for tool in ("bacula-dir", "bacula-sd", "bacula-fd", "bconsole"):
            need(shutil.which(tool), tool)
        need(os.path.exists("/usr/share/bacula-director"), "bacula-director")
        self.tmp = os.path.join(tmp, "bacula")
        os.mkdir(self.tmp)
        self.db = Cluster(os.path.join(tmp, "pg"))
        self.db.start()
        self.procs = []
        names = dict(tmp=self.tmp, volumes=volumes,
                     source=source, back=back, dir=free_port(),
                     sd=free_port(), fd=free_port())
        for name, text in (("dir", BACULA), ("sd", STORAGE), ("fd", FILED),
                           ("console", CONSOLE)):
            with open(os.path.join(self.tmp, name + ".conf"), "w") as f:
                f.write(text.format(**names))
        self.db.sql("create role bacula superuser login")
        self.db.sql("create database bacula encoding 'SQL_ASCII' "
                    "template template0 lc_collate 'C' lc_ctype 'C'")
        tables = os.path.join(self.tmp, "tables.sql")
        shutil.copy(glob.glob("/usr/share/dbconfig-common/data/"
                              "bacula-director-pgsql/install/pgsql")[0],
                    tables)
        os.chmod(self.tmp, 0o755)
        os.chmod(tables, 0o644)
        self.db.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-U", "bacula",
                    "-d", "bacula", "-f", tables)
        for what in ("sd", "fd", "dir"):
            log = open(os.path.join(self.tmp, what + ".log"), "w")
            self.procs.append(subprocess.Popen(
                ["bacula-" + what, "-f", "-c",
                 os.path.join(self.tmp, what + ".conf")],
                stdout=log, stderr=subprocess.STDOUT,
                env=dict(os.environ, PGHOST=self.db.dir)))

    def console(self, *lines):
        out = ""
        for _ in range(60):
            p = subprocess.run(
                ["bconsole", "-c", os.path.join(self.tmp, "console.conf")],
                input="\n".join(lines) + "\nquit\n", text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=60)
            out = p.stdout
            if p.returncode == 0 and "Failed to connect" not in out:
                return out
            time.sleep(0.5)
        raise AssertionError(out)

    def job(self, *lines):
        """Runs a job and waits; its report."""
        path = os.path.join(self.tmp, "messages")
        before = os.path.getsize(path) if os.path.exists(path) else 0
        out = self.console(*lines, "wait", "messages")
        end = time.monotonic() + 30
        while True:
            text = ""
            if os.path.exists(path):
                with open(path) as f:
                    f.seek(before)
                    text = f.read()
            m = re.search(r"Termination: +(.*)", text)
            if m:
                assert m[1].strip() in ("Backup OK", "Restore OK"), text
                return text
            assert time.monotonic() < end, out + text
            time.sleep(0.2)

    def stop(self):
        for p in reversed(self.procs):
            p.terminate()
        for p in self.procs:
            p.wait(30)
        self.db.stop()


def test_bacula(work, tmp):  # noqa: F811
    """A file volume: label, append, restore, recycle, restore."""
    source, back = os.path.join(tmp, "source"), os.path.join(tmp, "back")
    os.mkdir(source)
    os.mkdir(back)
    for i in range(40):
        with open(f"{source}/f{i}", "wb") as f:
            f.write(pbsgen.noise(100_000, i))
    b = Bacula(tmp, work.tree, source, back)
    volume = os.path.join(work.tree, "Vol1")

    def restored():
        shutil.rmtree(back)
        os.mkdir(back)
        b.job("restore select all done current client=fd yes")
        sh("diff", "-r", source, back + source)

    def catalogued():
        return int(b.db.sql("select volbytes from media", "bacula"))

    try:
        b.console("label storage=sd pool=Default volume=Vol1 drive=0")
        assert os.path.exists(volume)
        b.job("run job=save yes")
        first = os.path.getsize(volume)
        assert first > 4_000_000 and first == catalogued()
        with open(f"{source}/new", "wb") as f:
            f.write(pbsgen.noise(500_000, 99))
        b.job("run job=save yes")
        assert os.path.getsize(volume) == catalogued() > first + 4_000_000
        restored()
        b.console("purge volume=Vol1 yes",
                  "update volume=Vol1 volstatus=Recycle")
        os.unlink(f"{source}/new")
        text = b.job("run job=save yes")
        assert "Recycled volume" in text, text
        assert os.path.getsize(volume) == catalogued() < first + 1_000_000
        restored()
    finally:
        b.stop()
    work.published()
