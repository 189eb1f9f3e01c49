#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard's modules that need no browser, by Node: modules.mjs prints the TAP."""
import os, shutil, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))

if shutil.which("node") is None:
    print("1..1\n# skip: modules: there is no node\nok 1 - modules # SKIP")
    sys.exit(0)
sys.exit(subprocess.run([shutil.which("node"), os.path.join(HERE, "modules.mjs")], timeout=120).returncode)
