#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The fuzzing targets as a test: corpora replayed, then 20 s of each (tests/fuzz/run)."""
import os

here = os.path.dirname(os.path.abspath(__file__))
os.chdir(os.path.dirname(os.path.dirname(here)))
os.execv("/usr/bin/python3", ["/usr/bin/python3", os.path.join(here, "run"), "--tap"])
