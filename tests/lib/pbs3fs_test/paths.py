# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are: the source tree, the build, the program under test."""
import os

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
DATA = os.path.join(TOP, "tests/data")
LIB = os.path.join(TOP, "tests/lib")
BUILD = os.environ.get("TOP_BUILDDIR", TOP)
PBS3FS = os.environ.get("PBS3FS", os.path.join(BUILD, "pbs3fs"))

# Builds with sanitizers or below valgrind take their time.
SLOW = float(os.environ.get("TEST_SLOWNESS", "1"))
