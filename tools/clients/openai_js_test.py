#!/usr/bin/env python3
"""Runs openai_test.mjs against a server: openai_js_test.py ZAYA MODEL NODE_MODULES

Node looks for packages beside the script, so it runs a copy that lies beside NODE_MODULES.
"""

import pathlib
import shutil
import subprocess
import sys

from serving import Server

zaya, model, modules = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
script = modules.parent / "openai_test.mjs"
shutil.copyfile(pathlib.Path(__file__).with_name("openai_test.mjs"), script)
with Server(zaya, model, "--api-key", "a-key-of-ours") as server:
    sys.exit(subprocess.run(["node", str(script), server.url, "a-key-of-ours"], timeout=1200).returncode)
