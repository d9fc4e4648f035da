# SPDX-License-Identifier: MIT
"""Runs modules of CPython's own test suite (package libpython3.11-testsuite) one after another in the guest and prints a line a test:
`MODULE CLASS.TEST VERDICT`, with ok, skip, fail; a module that did not end well has a line `MODULE - end STATUS`.
The verdicts come from the JUnit file, for the tests print into each other's lines. test_socket breaks the writer of that file (its threads
meet stderr while it is replaced): it is run here, in a process of its own, with a result that prints."""
import fcntl
import importlib
import os
import socket
import struct
import subprocess
import sys
import unittest
import xml.etree.ElementTree as tree

DIRECT = ["test_socket"]
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


class Verdicts(unittest.TestResult):
    def say(self, test, verdict, error=None):
        line = test.id().split(".", 2)[-1].replace(" ", "_")
        text = "".join("# " + part + "\n" for part in self._exc_info_to_string(error, test).splitlines()[-12:]) if error else ""
        os.write(1, f"{sys.argv[2]} {line} {verdict}\n{text}".encode())

    def addSuccess(self, test):
        self.say(test, "ok")

    def addSkip(self, test, reason):
        self.say(test, "skip")

    def addFailure(self, test, error):
        self.say(test, "fail", error)

    def addError(self, test, error):
        self.say(test, "fail", error)

    def addExpectedFailure(self, test, error):
        self.say(test, "ok")

    def addUnexpectedSuccess(self, test):
        self.say(test, "fail")


def loopback_up():  # Linux leaves it down
    s = socket.socket()
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x49))  # SIOCSIFFLAGS: up, loopback, running
    s.close()


def direct(module):
    unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module("test." + module)).run(Verdicts())
    os._exit(0)


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


def run_direct(module):
    try:
        status = subprocess.run([sys.executable, __file__, "--direct", module], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                timeout=LIMIT).returncode
    except subprocess.TimeoutExpired:
        status = "timeout"
    if status != 0:
        print(module, "-", "end", status)


if sys.argv[1] == "--direct":
    direct(sys.argv[2])
loopback_up()
for name in sys.argv[1:]:
    run_direct(name) if name in DIRECT else run(name)
