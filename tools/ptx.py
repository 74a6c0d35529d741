"""The CUDA kernels as PTX, the files that are committed and embedded in the Rust library.

tools/ptx.sh brings the tools and calls this:
  build  writes the PTX of every source, and removes what no source makes
  check  fails when a committed file is not what its source makes, when it says where it was
         made, or when ptxas refuses it or warns for an architecture we mean to run on

factors.cu, dense.cu and dispersed.cu are compiled once for each length of a row of factors, the others once.
"""

import argparse
import concurrent.futures
import ctypes
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Folders of sources, each with a folder ptx.
FOLDERS = [ROOT / "src/rust/bcnmf-core/src/kernels", ROOT / "bench/gpu"]
WIDTHS = ("KP", (12, 20, 32))
VARIANTS = {"factors": WIDTHS, "dense": WIDTHS, "dispersed": WIDTHS}

# What drivers from 525.60 on and GPUs from Volta on read; the first is NVRTC 12.0's.
ISA, TARGET = "8.0", "sm_70"
OPTIONS = ["--gpu-architecture=" + TARGET.replace("sm", "compute"), "--std=c++17"]
ARCHITECTURES = ("sm_70", "sm_80", "sm_90", "sm_120")
TABLE = "sm_90"


class Nvrtc:
    def __init__(self, folder):
        name = os.path.join(folder, "libnvrtc.so.12")
        try:
            self.library = ctypes.CDLL(name)
        except OSError as error:
            sys.exit(f"cannot load NVRTC: {error}")
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def call(self, name, *args):
        code = getattr(self.library, name)(*args)
        return self.library.nvrtcGetErrorString(code).decode() if code else None

    def must(self, name, *args):
        error = self.call(name, *args)
        if error:
            sys.exit(f"{name}: {error}")

    def text(self, what, program):
        """The program's log or PTX, by a function that tells the size and one that copies."""
        size = ctypes.c_size_t()
        self.must(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.must(f"nvrtcGet{what}", program, buffer)
        return buffer.value

    def compile(self, source, headers, options):
        """The PTX and the warnings of a source; headers by the names it includes them by."""
        program = ctypes.c_void_p()
        self.must(
            "nvrtcCreateProgram",
            ctypes.byref(program),
            source.read_bytes(),
            source.name.encode(),
            len(headers),
            strings([header.read_bytes() for header in headers]),
            strings([header.name.encode() for header in headers]),
        )
        given = [option.encode() for option in options]
        error = self.call("nvrtcCompileProgram", program, len(given), strings(given))
        log = self.text("ProgramLog", program).decode(errors="replace").strip()
        if error:
            sys.exit(f"{log}\n{source.name} {' '.join(options)}: {error}")
        ptx = self.text("PTX", program)
        self.must("nvrtcDestroyProgram", ctypes.byref(program))
        return ptx, log


def strings(values):
    return (ctypes.c_char_p * len(values))(*values)


def compile_all(folder):
    """PTX by file, and how many compilations said something; what they said is printed."""
    nvrtc = Nvrtc(folder)
    made, warned = {}, 0
    for source in sorted(source for folder in FOLDERS for source in folder.glob("*.cu")):
        headers = sorted(source.parent.glob("*.cuh"))
        macro, values = VARIANTS.get(source.stem, (None, (None,)))
        for value in values:
            name = source.stem if macro is None else f"{source.stem}_{value}"
            options = OPTIONS + ([] if macro is None else [f"-D{macro}={value}"])
            ptx, log = nvrtc.compile(source, headers, options)
            made[source.parent / "ptx" / f"{name}.ptx"] = ptx
            if log:
                warned += 1
                print(f"{name}.ptx:\n{log}", flush=True)
    if not made:
        sys.exit(f"there are no .cu files in {', '.join(map(str, FOLDERS))}")
    return made, warned


def build(args):
    made, _ = compile_all(args.tools)
    for path in sorted(path for folder in FOLDERS for path in folder.glob("ptx/*.ptx")):
        if path not in made:
            path.unlink()
            print(f"removed   {path.name}")
    for path, ptx in made.items():
        path.parent.mkdir(exist_ok=True)
        same = path.exists() and path.read_bytes() == ptx
        if not same:
            path.write_bytes(ptx)
        print(f"{'unchanged' if same else 'written  '} {path.name}, {len(ptx)} bytes")


def differences(made):
    there = {path for folder in FOLDERS for path in folder.glob("ptx/*")}
    for path in sorted(there | made.keys()):
        if path not in made:
            yield f"superfluous: {path.name}"
        elif path not in there:
            yield f"missing: {path.name}"
        elif path.read_bytes() != made[path]:
            yield f"stale: {path.name}"


def oddities(name, ptx):
    """What a committed file must not say, or fails to."""
    text = ptx.decode(errors="replace")
    for directive, wanted in ((".version", ISA), (".target", TARGET)):
        found = re.findall(rf"^{re.escape(directive)}\s+(.+?)\s*$", text, re.M)
        if found != [wanted]:
            yield f"{name}: {directive} is {', '.join(found) or 'not there'} and must be {wanted}"
    for path in re.findall(r"(?<![\w/])/\w[\w.+-]*/[\w./+-]*", text):
        yield f"{name}: has an absolute path: {path}"
    host = socket.gethostname()
    if host and re.search(rf"(?<![\w.]){re.escape(host)}(?![\w.])", text):
        yield f"{name}: has this machine's name: {host}"


def assemble(ptxas, path, architecture, folder):
    """What ptxas says of a file, and whether it took it."""
    # Not to /dev/null, which root's tools have been known to replace.
    output = os.path.join(folder, f"{path.name}.{architecture}.cubin")
    command = [ptxas, "--verbose", f"--gpu-name={architecture}", "--output-file", output, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout, done.returncode


def resources(said):
    """A dictionary for each function that ptxas speaks of: kernels, and what they call."""
    functions = {}
    name = None
    for line in said.splitlines():
        match = re.search(r"Function properties for '?([\w$.]+)", line)
        if match:
            name = match.group(1)
            functions[name] = dict(registers="", stack=0, stores=0, loads=0, shared=0)
        match = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)
        if match and name:
            sizes = map(int, match.groups())
            functions[name].update(zip(("stack", "stores", "loads"), sizes))
        match = re.search(r"Used (\d+) registers", line)
        if match and name:
            functions[name]["registers"] = match.group(1)
            match = re.search(r"(\d+) bytes smem", line)
            functions[name]["shared"] = int(match.group(1)) if match else 0
    return functions


def check(args):
    made, warned = compile_all(args.tools)
    faults = [f"warnings in {warned} compilations"] if warned else []
    stale = list(differences(made))
    if stale and args.tries > 1 and all(fault.startswith("stale") for fault in stale):
        # NVRTC sorts by addresses here and there, where one source has several forms: another process may meet the one that is committed.
        again = [sys.executable, *sys.argv, "--tries", str(args.tries - 1)]
        os.execv(sys.executable, again)
    if stale:
        faults += stale + ["Run `sh tools/ptx.sh build` and commit what changes."]
    for path, ptx in made.items():
        faults += oddities(path.name, ptx)
    # ptxas takes long, and would judge files that nobody wants.
    if not faults:
        faults = check_ptxas(args, list(made))
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(made)} PTX files are what their sources make, and good for {', '.join(ARCHITECTURES)}")


def check_ptxas(args, paths):
    ptxas = os.path.join(args.tools, "ptxas")
    jobs = [(path, architecture) for path in paths for architecture in ARCHITECTURES]
    faults, rows = [], []
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda job: assemble(ptxas, *job, folder), jobs)
        for (path, architecture), (said, code) in zip(jobs, results):
            unusual = [line for line in said.splitlines() if re.match(r"ptxas(?! +info)|.*\bwarning\b", line)]
            if code or unusual:
                said = "\n".join(unusual) or said.strip() or f"status {code}"
                faults.append(f"{path.name}, ptxas for {architecture}:\n{said}")
                continue
            for name, found in resources(said).items():
                spilled = max(found["stores"], found["loads"])
                if args.most_spills is not None and spilled > args.most_spills:
                    faults.append(f"{path.name}: {name} spills {spilled} bytes on {architecture}")
                if architecture == TABLE:
                    rows.append((path.name, name, *found.values()))
    if args.table:
        print_table(("file", f"kernel on {TABLE}", "registers", "stack", "stored", "loaded", "shared"), rows)
    return faults


def print_table(head, rows):
    lines = [head] + [tuple(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        cells = [cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))]
        print("  ".join(cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # Without a folder the system's: fine to play with, but other versions make other bytes.
    parser.add_argument("--tools", default="", metavar="DIR", help="where libnvrtc.so.12 and ptxas are")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").set_defaults(run=build)
    checks = commands.add_parser("check")
    checks.set_defaults(run=check)
    checks.add_argument("--table", action="store_true", help=f"show what each kernel needs on {TABLE}, in bytes")
    checks.add_argument("--most-spills", type=int, metavar="N", help="fail where a kernel spills more bytes")
    checks.add_argument("--tries", type=int, default=10, metavar="N", help="how often stale files are compiled again")
    args = parser.parse_args()
    args.run(args)


main()
