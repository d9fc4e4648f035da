"""What the areas of ./bench share: a program run in guests of Ostrom and of its rivals, and the table of the ratios.

A program of an area prints lines of `row figure`. Rivals boot with mitigations off and without clearing of memory, which Ostrom does not do either.
"""
import collections
import datetime
import glob
import math
import os
import re
import subprocess
import sys
import tempfile

ICOUNT = "-accel tcg -icount shift=0,sleep=off -cpu max,-erms,-fsrm"
LINUX_ARGS = "mitigations=off init_on_alloc=0"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAMES = {"debian": "Debian's Linux", "small": "small Linux"}


def debian():
    """The folder of Debian's kernel package."""
    return subprocess.run(["tools/linux-guest", "--fetch"], capture_output=True, text=True, check=True).stdout.strip()


def debian_kernel():
    return glob.glob(debian() + "/boot/vmlinuz-*")[0]


def small_kernel():
    return subprocess.run(["tools/small-linux"], capture_output=True, text=True, check=True).stdout.strip()


def rows_of(command, who):
    """The figures that a command printed, by row."""
    p = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if p.returncode:
        print(f"bench: {who} ended with status {p.returncode}: {p.stderr.strip()[-300:]}", file=sys.stderr)
    return {name: int(v) for name, v in (line.split() for line in p.stdout.splitlines() if len(line.split()) == 2) if v.isdigit()}


def guest(kernel, options, command):
    """The rows of a command in a guest of Ostrom (kernel None) or of this kernel; time is instructions."""
    if not kernel:  # as the rivals
        options = [f"{o} mitigations=off" if before == "--append" else o for before, o in zip(["", *options], options)]
        options += [] if "--append" in options else ["--append", "mitigations=off"]
    words = ["tools/qemu-run", "--icount", "--timeout", "600", *options, *(["--kernel", kernel] if kernel else [])]
    return rows_of([*words, "--", *command], kernel or "Ostrom")


def counted(report):
    """The sums of a report of the cache model, all CPUs together."""
    sums = collections.Counter()
    for line in report.splitlines():
        if line.startswith(("total ", "cpu ")):
            sums.update({word: int(n) for word, n in re.findall(r"(\w+)=(\d+)", line)})
    return sums


def modelled(kernel, options, cpus, cache=""):
    """The rows of build/bench/micro under the cache model of tools/plugins, on so many CPUs: for each its figure, what the model counted over all its
    operations (the words of its report), and how many operations those were. `make plugins` has been run."""
    with tempfile.NamedTemporaryFile() as f:
        plugin = f"-plugin build/plugins/cachemodel.so,vtag=0x100000000000,out={f.name}{cache}"
        rows = guest(kernel, [*options, "--cpus", str(cpus), "--qemu", plugin], ["/micro", "--cpus", str(cpus)])
        with open(f.name, encoding="ascii", errors="replace") as report:
            counts = [counted(part) for part in report.read().split("end\n")]
    names = [row for row in rows if not row.endswith(".operations")]
    return {row: (rows[row], c, rows[f"{row}.operations"]) for row, c in zip(names, counts)}


def mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def table(area, ours, rivals, goals, beside="beside_", unit="instructions"):
    """Prints the table, writes benchmarks/results/AREA.tsv; 0, or 1 if a rival has no figure. Rows that begin with `beside` do not count."""
    os.makedirs("benchmarks/results", exist_ok=True)
    print(f"| operation ({unit}) | Ostrom |" + "".join(f" {NAMES[r]} | ratio |" for r in rivals))
    print("|---|---:|" + "---:|---:|" * len(rivals))
    ratios = {r: [] for r in rivals}
    with open(f"benchmarks/results/{area}.tsv", "w") as f:
        f.write(f"# ./bench {area}, {datetime.date.today()}, Linux with {LINUX_ARGS}\noperation\tostrom\t" + "\t".join(rivals) + "\n")
        for name in next(iter(rivals.values())):
            mine, cells = ours.get(name), ""
            f.write("\t".join([name, str(mine or "-"), *(str(rows.get(name, "-")) for rows in rivals.values())]) + "\n")
            for r, rows in rivals.items():
                ratio = mine / rows[name] if mine and rows.get(name) else None
                if ratio and not name.startswith(beside):
                    ratios[r].append(ratio)
                cells += f" {rows.get(name, 'absent')} | {f'{ratio:.2f}' if ratio else '-'} |"
            print(f"| {name} | {mine or 'absent'} |{cells}")
    if not all(ratios.values()):
        return 1
    print("\ngeometric means: " + ", ".join(f"{mean(v):.2f} beside {NAMES[r]} over {len(v)} rows (goal: at most {goals[r]})" for r, v in ratios.items()))
    return 0
