#!/usr/bin/env python3
"""Sits at a terminal (a pty) before ./run's shell, as a person does, and says for each habit whether the console has it.

usage: drive.py OPTIONS-OF-QEMU-RUN...
"""
import fcntl
import hashlib
import os
import pty
import re
import select
import struct
import sys
import termios
import time

ROWS, COLUMNS = 31, 97
PATIENCE = 40
PROMPT = rb"ostrom:~# "
SLEEP = "sh -c 'echo go; exec sleep 1000'"  # says so itself: the shell might still be about to put it in front


class Terminal:
    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.execv(command[0], command)
        self.seen = b""

    def type(self, text):
        text = text if isinstance(text, bytes) else text.encode()
        while text:
            select.select([], [self.fd], [])
            text = text[os.write(self.fd, text[:512]):]

    def expect(self, pattern):
        """Everything up to and with the pattern; the match."""
        pattern = pattern if isinstance(pattern, bytes) else pattern.encode()
        end = time.time() + PATIENCE
        while not (m := re.search(pattern, self.seen, re.S)):
            ready = select.select([self.fd], [], [], max(0, end - time.time()))[0]
            try:
                chunk = os.read(self.fd, 65536) if ready else b""
            except OSError:
                chunk = b""
            if not chunk:
                raise AssertionError(f"waited for {pattern!r}, saw {self.seen[-800:]!r}")
            self.seen = (self.seen + chunk).replace(b"\r\r\n", b"\r\n")  # the outer pty adds one, too
        text, self.seen = self.seen[: m.end()], self.seen[m.end():]
        return m, text

    def line(self, command, pattern):
        """Types a command and waits for the pattern in its output and for the prompt."""
        self.type(command + "\r")
        m, _ = self.expect(pattern)
        self.expect(PROMPT)
        return m

    def end(self):
        while select.select([self.fd], [], [], PATIENCE)[0]:
            try:
                if not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def start(t, command, before=""):
    """Runs it, and waits until the shell has left its line editor: what is typed earlier would be the editor's."""
    t.type(f"{before}echo go; {command}\r" if command else before + "\r")
    t.expect(rb"\ngo\r?\n")


def log_and_size(t, _):
    t.expect(rb"\] Ostrom, ")  # the kernel's log comes out here, too
    t.expect(PROMPT)
    t.line("stty size", rf"\n{ROWS} {COLUMNS}\r\n")


def names(t, tty):
    t.line("tty; echo on the console > /dev/console", rf"\n/dev/{tty}\r\n.*on the console\r\n")


def signals(t, _):
    start(t, "", SLEEP)
    t.type(b"\x03")
    t.line("echo after=$?", rb"\nafter=130\r\n")
    t.type("sh -c 'trap \"echo quit; exit 3\" QUIT; echo ready; while :; do sleep 1; done'\r")
    t.expect(rb"\nready\r\n")
    t.type(b"\x1c")
    t.expect(rb"quit\r\n.*" + PROMPT)


def jobs(t, _):
    start(t, "", SLEEP)
    t.type(b"\x1a")
    t.expect(rb"Stopped.*" + PROMPT)
    t.line("bg; jobs", rb"Running")
    t.type("fg\r")
    t.expect(rb"fg\r\n.*sleep 1000")
    time.sleep(1)  # the shell says so first, and gives the terminal away after that
    t.type(b"\x03")
    t.expect(PROMPT)
    t.line("cat & sleep 1; jobs", rb"Stopped \(tty input\)|Stopped")
    t.line("kill -9 %1; wait; echo gone", rb"\ngone\r\n")


def editing(t, _):
    start(t, "cat")
    t.type(b"abX\x7fc\r")
    t.expect(rb"abX\x08 \x08c\r\nabc\r\n")
    t.type(b"rubbish\x15line\r")
    t.expect(rb"\r\nline\r\n|\x08line\r\nline\r\n")
    t.type(b"two words\x17one\r")
    t.expect(rb"\r\ntwo one\r\n")
    t.type(b"\x04")
    t.expect(PROMPT)


def echo_off(t, _):
    start(t, "read word; stty echo; echo got=$word", "stty -echo; ")
    t.type("secret\r")
    _, text = t.expect(rb"got=secret\r\n.*" + PROMPT)
    assert text.count(b"secret") == 1, text


def resize(t, _):
    t.line("sh -c 'trap \"stty size; exit\" WINCH; stty rows 41 cols 101; while :; do sleep 1; done'", rb"\n41 101\r\n")


def raw(t, _):
    start(t, "dd bs=1 count=4 2>/dev/null | od -An -tx1; stty sane", "stty raw -echo; ")
    t.type(b"\x03\x04\r\x1a")
    t.expect(rb"03 04 0d 1a.*" + PROMPT)


def much_output(t, _):
    t.type("seq 1 20000; echo the end\r")
    _, text = t.expect(rb"\nthe end\r\n")
    wanted = b"".join(b"%d\r\n" % n for n in range(1, 20001))
    assert wanted in text, "lines were lost"
    t.expect(PROMPT)


def much_input(t, tty):
    if tty == "ttyS0":
        return  # a serial line without flow control: what nobody reads in time is lost, as on a real one
    lines = b"".join(b"%059d\n" % n for n in range(700))
    start(t, "head -n 700 | md5sum; stty echo", "stty -echo; ")
    t.type(lines)
    t.expect(hashlib.md5(lines).hexdigest() + r"  -\r\n.*ostrom:~# ")


def power_off(t, _):
    t.type("exit\r")
    status = t.end()
    assert status == 0, f"status {status}"


def main(options):
    tty = "hvc0" if "virtio" in options else "ttyS0"
    t = Terminal(["tools/qemu-run", *options])
    for case in (log_and_size, names, signals, jobs, editing, echo_off, resize, raw, much_output, much_input, power_off):
        try:
            case(t, tty)
            print(f"ok {tty} {case.__name__}", flush=True)
        except AssertionError as e:
            print(f"not ok {tty} {case.__name__}: {e}")
            os.kill(t.pid, 15)
            return 1
    return 0


sys.exit(main(sys.argv[1:]))
