# SPDX-License-Identifier: MIT
"""Runs modules of CPython's own test suite (package libpython3.11-testsuite) one after another in the guest and prints a line a test:
`MODULE CLASS.TEST VERDICT`, with ok, skip, fail; a module that did not end well has a line `MODULE - end STATUS`.
The verdicts come from the JUnit file, for the tests print into each other's lines."""
import os
import subprocess
import sys
import xml.etree.ElementTree as tree

LIMIT = int(os.environ.get("LIMIT", 900))  # seconds a module; a hang costs one module


def verdicts(module, path):
    found = {}
    for case in tree.parse(path).iter("testcase"):
        name = case.get("name").removeprefix("test." + module + ".")
        bad = case.find("failure") is not None or case.find("error") is not None
        skipped = case.find("skipped") is not None or case.get("result") == "skipped"
        verdict = "fail" if bad else "skip" if skipped else "ok"
        if found.get(name) != "fail":
            found[name] = verdict
    for name, verdict in found.items():
        print(module, name.replace(" ", "_"), verdict, flush=True)


def run(module):
    xml = f"/tmp/{module}.xml"
    log = f"/tmp/{module}.log"
    with open(log, "wb") as out:
        try:
            status = subprocess.run([sys.executable, "-m", "test", "--junit-xml", xml, "--timeout", str(LIMIT - 60), module],
                                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=LIMIT).returncode
        except subprocess.TimeoutExpired:
            status = "timeout"
    if os.path.exists(xml):
        verdicts(module, xml)
    if status != 0 or not os.path.exists(xml):
        print(module, "-", "end", status)
        with open(log, errors="replace") as text:
            print("\n".join("# " + line.rstrip() for line in text.readlines()[-int(os.environ.get("TAIL", 400)):]))


for name in sys.argv[1:]:
    run(name)
