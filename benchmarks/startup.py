"""import introspect, and --help: seconds beyond the interpreter's own start."""

from __future__ import annotations

import subprocess
import sys

from timing import show, time_pairs


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    bare, imported = time_pairs(lambda: run("-c", "pass"), lambda: run("-c", "import introspect"), 9)
    show("import introspect, beyond the interpreter's start", f"{max(imported - bare, 0):.3f} s", "< 0.1 s")
    bare, helped = time_pairs(lambda: run("-c", "pass"), lambda: run("-m", "introspect", "--help"), 9)
    show("python -m introspect --help, likewise", f"{max(helped - bare, 0):.3f} s", "< 0.1 s")


if __name__ == "__main__":
    main()
