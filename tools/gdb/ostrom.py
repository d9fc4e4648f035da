"""Commands for gdb on a running Ostrom (./run --debug, or -x tools/gdb/ostrom.py): tasks, klog, vmas PID, locks.

They read the kernel's own structures by their debug information, so they need no help from the guest, which may be hung.
"""
import gdb


MAX_CPUS = 64  # lib/cpumask.h


def container(pointer, kind, member):
    t = gdb.lookup_type("struct " + kind)
    offset = next(f.bitpos // 8 for f in t.fields() if f.name == member)
    return (pointer.cast(gdb.lookup_type("char").pointer()) - offset).cast(t.pointer()).dereference()


def each_link(head):
    link = head["next"]
    while link != head.address:
        yield link
        link = link["next"]


def pids():
    """Every struct pid of the first namespace, by number."""
    found = {}
    table = gdb.parse_and_eval("'kernel/process/pid.c'::hash")
    for i in range(table.type.range()[1] + 1):
        for link in each_link(table[i]):
            level = container(link, "pid_level", "hash_link")
            pid = container(level.address, "pid", "level")
            found[int(level["nr"])] = pid
    return sorted(found.items())


def task_of(number):
    for nr, pid in pids():
        if nr == number and pid["task"]:
            return pid["task"].dereference()
    raise gdb.GdbError(f"no task {number}")


class Tasks(gdb.Command):
    """tasks: number, CPU, state and name of every thread."""

    def __init__(self):
        super().__init__("tasks", gdb.COMMAND_DATA)

    def invoke(self, arg, tty):
        states = {f.enumval: f.name.removeprefix("TASK_").lower() for f in gdb.lookup_type("enum task_state").fields()}
        for nr, pid in pids():
            if pid["task"]:
                t = pid["task"].dereference()
                mark = "*" if t["on_cpu"] else " "
                print(f"{nr:6} {mark} cpu {int(t['cpu']):2}  {states.get(int(t['state']), '?'):16} {t['comm'].string()}")


class Klog(gdb.Command):
    """klog: the kernel's log ring."""

    def __init__(self):
        super().__init__("klog", gdb.COMMAND_DATA)

    def invoke(self, arg, tty):
        log = lambda name: gdb.parse_and_eval(f"'kernel/core/log.c'::{name}")
        ring, at, end = log("ring"), int(log("first")), int(log("end"))
        size, record = ring.type.sizeof, gdb.lookup_type("struct record")
        text_at = next(f.bitpos // 8 for f in record.fields() if f.name == "text")
        while at < end:
            where = int(ring.address) + at % size
            r = gdb.Value(where).cast(record.pointer()).dereference()
            if int(r["bytes"]):
                text = bytes(gdb.selected_inferior().read_memory(where + text_at, int(r["bytes"]))).decode(errors="replace")
                print(f"[{int(r['time_ns']) / 1e9:12.6f}] {text}")
            at += int(r["size"])


class Vmas(gdb.Command):
    """vmas PID: the address space of a process."""

    def __init__(self):
        super().__init__("vmas", gdb.COMMAND_DATA)

    def walk(self, node):
        if node:
            self.walk(node["left"])
            v = container(node, "vma", "node")
            flags = int(v["flags"])
            rights = "".join(c if flags >> i & 1 else "-" for i, c in enumerate("rwx"))
            print(f"{int(v['start']):x}-{int(v['end']):x} {rights} mapping {int(v['mapping']):#x} index {int(v['index'])}")
            self.walk(node["right"])

    def invoke(self, arg, tty):
        mm = task_of(int(arg))["mm"]
        if not mm:
            raise gdb.GdbError("it has no address space")
        self.walk(mm["vmas"]["node"])


class Locks(gdb.Command):
    """locks: every lock that is held: spin locks by CPU, sleeping locks by task (debug build only)."""

    def __init__(self):
        super().__init__("locks", gdb.COMMAND_DATA)

    def show(self, owner, count, locks, ranks):
        for i in range(count):
            print(f"{owner}  {ranks.get(int(locks[i]['rank']), '?'):16} {int(locks[i]['lock']):#x}")

    def invoke(self, arg, tty):
        try:
            held = gdb.parse_and_eval("&'kernel/core/spin.c'::held")
        except gdb.error:
            raise gdb.GdbError("only the debug build keeps them (./run --debug-kernel --debug)")
        ranks = {f.enumval: f.name.removeprefix("RANK_") for f in gdb.lookup_type("enum lock_rank").fields()}
        offsets = gdb.parse_and_eval("percpu_offset")
        for cpu in range(MAX_CPUS):  # the array's type has no length where it is only declared
            if int(offsets[cpu]):
                h = gdb.Value(int(held) + int(offsets[cpu]) & (1 << 64) - 1).cast(held.type).dereference()
                self.show(f"cpu {cpu:4}", int(h["count"]), h["at"], ranks)
        for nr, pid in pids():
            if pid["task"]:
                t = pid["task"].dereference()
                self.show(f"task {nr:3}", int(t["nr_held"]), t["held"], ranks)


for command in (Tasks, Klog, Vmas, Locks):
    command()
