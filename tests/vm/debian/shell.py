# SPDX-License-Identifier: MIT
"""Sits at a pseudo-terminal in front of `./run --root debian`, types as a person does and judges what comes back: line editing, job
control, the keys that signal, resizing, colours, top, less and vi. Prints ok and not ok lines; status 1 if one is not ok."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

ESCAPES = re.compile(rb"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][0-9A-B]|[=>78cM])")
UP, LEFT, HOME, END = b"\x1b[A", b"\x1b[D", b"\x01", b"\x05"
PROMPT = rb"ostrom:[^\n]*# $"


class Terminal:
    def __init__(self, command, rows, columns):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        env = dict(os.environ, TERM="xterm-256color")

        def own_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, preexec_fn=own_terminal)
        os.close(slave)
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        self.seen = b""
        os.write(self.master, keys)

    def wait_for(self, pattern, seconds=60, raw=False):
        """The match in what came since the last typing, without escape sequences; None: it did not come."""
        end = time.monotonic() + seconds
        while True:
            text = self.seen if raw else ESCAPES.sub(b"", self.seen).replace(b"\r", b"")
            found = re.search(pattern, text, re.S)
            if found or time.monotonic() > end:
                return found
            if select.select([self.master], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:
                    return re.search(pattern, text, re.S)


failures = 0


def judge(name, good, t):
    global failures
    print(f"ok {name}" if good else f"not ok {name}: the terminal shows {t.seen[-600:]!r}", flush=True)
    failures += not good
    return good


def at_prompt(t, name, keys, pattern, seconds=60):
    """Types a line; its output, up to the next prompt, has the pattern."""
    t.type(keys)
    judge(name, t.wait_for(pattern + rb".*" + PROMPT, seconds), t)


def dialogue(t, name, keys, asks, answer, pattern):
    t.type(keys)
    if judge(name + "-asks", t.wait_for(asks), t):
        time.sleep(1)  # it asks, and then it reads
        t.type(answer)
        judge(name, t.wait_for(pattern), t)


def program(t, name, start, steps, leave):
    """A program that has the whole screen: (keys, pattern) steps, then out of it and back at the prompt."""
    for what, (keys, pattern) in enumerate([start, *steps]):
        t.type(keys)
        if not judge(f"{name}-{what}", t.wait_for(pattern), t):
            break
        time.sleep(1)  # two keys that come at once are read as one by some
    t.type(leave)
    judge(f"{name}-left", t.wait_for(PROMPT), t)


def session(t):
    if not judge("prompt", t.wait_for(PROMPT, 200), t):
        return
    at_prompt(t, "bash", b"echo $0 $TERM\r", rb"\n/bin/bash xterm-256color\n")
    # Line editing
    at_prompt(t, "cursor", b"echo helo" + LEFT + b"l\r", rb"\nhello\n")
    at_prompt(t, "home-and-end", b"cho a" + HOME + b"e" + END + b"bc\r", rb"\nabc\n")
    at_prompt(t, "erase-word-and-line", b"rm -rf x\x15echo one two\x17three\r", rb"\none three\n")
    at_prompt(t, "history", UP + UP + b"\r", rb"\nabc\n")
    at_prompt(t, "search-history", b"\x12helo" + b"\x07\x15" + b"\x12lo\x12" + b"\r", rb"\n(hello|/bin/bash[^\n]*)\n")
    at_prompt(t, "completion", b"cat /etc/debian_ver\t\r", rb"\n12\.\d+\n")
    # Keys that signal, and job control
    t.type(b"sleep 1000\r")
    time.sleep(2)
    at_prompt(t, "ctrl-c", b"\x03", rb"\^C\n")
    at_prompt(t, "ctrl-c-status", b"echo st$?\r", rb"\nst130\n")
    t.type(b"sleep 1000\r")
    time.sleep(2)
    at_prompt(t, "ctrl-z", b"\x1a", rb"Stopped +sleep 1000")
    at_prompt(t, "background", b"bg; sleep 0.1; jobs\r", rb"Running +sleep 1000 &")
    t.type(b"fg\r")
    judge("foreground", t.wait_for(rb"sleep 1000\n"), t)
    time.sleep(1)
    at_prompt(t, "foreground-ctrl-c", b"\x03", rb"\^C\n")
    t.type(b"sleep 1000\r")
    time.sleep(2)
    at_prompt(t, "ctrl-backslash", b"\x1c", rb"Quit")
    at_prompt(t, "background-reader-stops", b"cat & sleep 1; jobs; kill %1; kill -CONT %1; wait\r", rb"Stopped +cat")
    dialogue(t, "end-of-file", b"echo ask; cat; echo after\r", rb"\nask\n", b"\x04", rb"after\n.*" + PROMPT)
    dialogue(t, "secret", b"echo ask; read -s x; echo; echo got-$x\r", rb"\nask\n", b"seven\r", rb"^\ngot-seven\n.*" + PROMPT)
    t.type(b"seq 200000\r")
    time.sleep(1)
    at_prompt(t, "interrupted-output", b"\x03", rb"")
    # The window
    at_prompt(t, "size", b"stty size\r", rb"\n24 80\n")
    t.type(b"sh -c 'trap \"echo got it; exit\" WINCH; echo set; sleep 1000 & wait'\r")
    judge("resize-waits", t.wait_for(rb"\nset\n"), t)
    t.resize(40, 120)
    judge("resize-signal", t.wait_for(rb"got it\n.*" + PROMPT), t)
    at_prompt(t, "resized", b"stty size; echo $LINES $COLUMNS\r", rb"\n40 120\n40 120\n")
    t.type(b"ls -d --color=auto /etc\r")
    judge("colours", t.wait_for(rb"\x1b\[01;34m/etc\x1b\[0m", raw=True), t)
    # Programs that own the screen
    program(t, "top", (b"top\r", rb"Tasks:.*%Cpu.*PID USER"), [(b"c", rb"/bin/bash"), (b"M", rb"COMMAND"), (b"h", rb"Help for Interactive"), (b"q", rb"PID USER")], b"q")
    program(t, "less", (b"less /etc/services\r", rb"# Network services"), [(b"/^imaps\r", rb"imaps +993"), (b"G", rb"\(END\)|# Local services"), (b"g", rb"tcpmux")], b"q")
    program(t, "vi", (b"vi /tmp/v\r", rb"/tmp/v.*\[New\]|/tmp/v. \[New|\[New File\]"), [(b"ihello\rworld\x1b", rb"world"), (b":%s/world/there/\r", rb"there"), (b":w\r", rb"2(L| lines), 12(B| bytes) written")], b":q\r")
    at_prompt(t, "vi-wrote", b"cat /tmp/v\r", rb"\nhello\nthere\n")
    t.type(b"vi /tmp/v\r")
    judge("vi-again", t.wait_for(rb"hello"), t)
    at_prompt(t, "vi-suspended", b"\x1a", rb"Stopped +vi /tmp/v")
    t.type(b"fg\r")
    judge("vi-resumed", t.wait_for(rb"hello.*there"), t)
    t.type(b":q\r")
    judge("vi-left", t.wait_for(PROMPT), t)
    t.type(b"exit\r")
    try:
        t.child.wait(60)
    except subprocess.TimeoutExpired:
        pass
    judge("exit", t.child.poll() == 0, t)


def main():
    t = Terminal(sys.argv[1:], 24, 80)
    try:
        session(t)
    finally:
        if t.child.poll() is None:
            t.child.terminate()
            t.child.wait()
    return 1 if failures else 0


sys.exit(main())
