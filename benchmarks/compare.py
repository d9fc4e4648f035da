"""What the areas of ./bench share: a program run in guests of Ostrom and of its rivals, and the table of the ratios.

A program of an area prints lines of `row figure`. Rivals boot with mitigations off and without clearing of memory, which Ostrom does not do either.
"""
import datetime
import glob
import math
import os
import subprocess
import sys

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


def mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def table(area, ours, rivals, goals, beside="beside_"):
    """Prints the table, writes benchmarks/results/AREA.tsv; 0, or 1 if a rival has no figure. Rows that begin with `beside` do not count."""
    os.makedirs("benchmarks/results", exist_ok=True)
    print("| operation (instructions) | Ostrom |" + "".join(f" {NAMES[r]} | ratio |" for r in rivals))
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
