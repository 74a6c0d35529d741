"""bcnmf on a GPU against dense PyTorch on the same GPU, two CPU threads, and the GPU's measured roofs.

Needs Python 3.9, numpy, torch with CUDA, a GPU, and the program bcnmf-gpu-bench beside this file or named by --binary: see
README.md. Writes a table, RESULTS-gpu.md, anew after every size, so that a run that is cut short leaves what it has.

With --device cpu, which is for tests, the dense program runs on the processor, by torch or, where there is none, by numpy, and
the table is only written where --out says; bcnmf-gpu-bench still needs a GPU, or the tests' emulator of one.
"""

import argparse
import datetime
import gc
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

try:
    import numpy as np
except ImportError:
    np = None
try:
    import torch
except ImportError:
    torch = None

HERE = pathlib.Path(__file__).resolve().parent
BAR = dict(cells=1_000_000, k=20, loss="poisson")
AGREE = 1e-3


# ---- The published updates on dense matrices, written for torch and numpy alike (`xp`): X and Y are features × cells, W is
# features × K, H is K × cells. `lean` takes sums where the published program multiplies by matrices of ones.


class Poisson:
    """Generalised Kullback-Leibler divergence."""

    guard = 1e-16

    def __init__(self, xp, lean):
        self.xp, self.lean = xp, lean

    def ratio(self, w, v, h):
        return v / (w @ h + self.guard)

    def h_step(self, w, v, h):
        down = w.sum(0)[:, None] if self.lean else w.T @ self.xp.ones_like(v)
        return h * (w.T @ self.ratio(w, v, h)) / (down + self.guard)

    def w_parts(self, w, v, h):
        """What pulls W up and down for one set."""
        down = h.sum(1)[None, :] if self.lean else self.xp.ones_like(v) @ h.T
        return self.ratio(w, v, h) @ h.T, down

    def divergence(self, v, rate):
        one = self.xp.ones_like(v)
        log = self.xp.log(self.xp.where(v > 0, v, one) / self.xp.where(v > 0, rate, one))
        return (v * log - v + rate).sum()


class Mse:
    """Squared error."""

    guard = 1e-10

    def __init__(self, xp, lean):
        del xp, lean  # there is nothing that ones are needed for

    def h_step(self, w, v, h):
        return h * (w.T @ v) / (w.T @ w @ h + self.guard)

    def w_parts(self, w, v, h):
        return v @ h.T, w @ (h @ h.T)

    def divergence(self, v, rate):
        return ((v - rate) ** 2).sum()


LOSSES = dict(poisson=Poisson, mse=Mse)


def sweep(loss, w, data, h, alpha):
    """An H step of each set with the old W, then a W step with the new H. The background's parts change sides."""
    h = [loss.h_step(w, v, hs) for v, hs in zip(data, h)]
    up, down = loss.w_parts(w, data[0], h[0])
    if len(data) > 1:
        background_up, background_down = loss.w_parts(w, data[1], h[1])
        up, down = up + alpha * background_down, down + alpha * background_up
    return w * up / (down + loss.guard), h


def objective(arrays, loss, w, data, h, alpha, cells_at_once=4096):
    """D(X, W H_X) - alpha D(Y, W H_Y), in double precision."""
    sums = []
    w = arrays.wide(w)
    for v, hs in zip(data, h):
        total = 0.0
        for first in range(0, v.shape[1], cells_at_once):
            part = slice(first, first + cells_at_once)
            total += float(loss.divergence(arrays.wide(v[:, part]), w @ arrays.wide(hs[:, part])))
        sums.append(total)
    return sums[0] - alpha * sum(sums[1:])


# ---- Arrays


class Torch:
    def __init__(self, device):
        self.xp, self.device = torch, device
        self.name = f"torch {torch.__version__}"
        self.out_of_memory = torch.cuda.OutOfMemoryError
        torch.set_grad_enabled(False)
        # All bits of single precision, as on the other side.
        torch.set_float32_matmul_precision("highest")

    def array(self, values):
        return torch.from_numpy(values).to(self.device)

    def zeros(self, *shape):
        return torch.zeros(shape, dtype=torch.float32, device=self.device)

    def wide(self, values):
        return values.double()

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def free(self):
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()


class Numpy:
    """For tests where there is no torch."""

    def __init__(self):
        self.xp, self.device = np, "cpu"
        self.name = f"numpy {np.__version__}, in the place of torch"
        self.out_of_memory = MemoryError

    def array(self, values):
        return values

    def zeros(self, *shape):
        return np.zeros(shape, dtype=np.float32)

    def wide(self, values):
        return values.astype(np.float64)

    def wait(self):
        pass

    def free(self):
        gc.collect()


# ---- Data that bcnmf-gpu-bench has written


class Counts:
    """A matrix by columns in a file: features, cells, entries; p, i, all as 32-bit integers; x in single precision."""

    def __init__(self, path):
        self.features, self.cells, entries = map(int, np.fromfile(path, dtype="<i4", count=3))
        self.p, self.i = (
            np.fromfile(path, dtype="<i4", count=count, offset=4 * before)
            for count, before in ((self.cells + 1, 3), (entries, self.cells + 4))
        )
        self.x = np.fromfile(path, dtype="<f4", count=entries, offset=4 * (self.cells + 4 + entries))
        before = np.concatenate([[0.0], np.cumsum(self.x, dtype=np.float64)])
        self.totals = (before[self.p[1:]] - before[self.p[:-1]]).astype(np.float32)

    def dense(self, arrays, cells_at_once=16384):
        matrix = arrays.zeros(self.features, self.cells)
        for first in range(0, self.cells, cells_at_once):
            last = min(first + cells_at_once, self.cells)
            p = self.p[first : last + 1]
            stored = slice(p[0], p[-1])
            cell = np.repeat(np.arange(last - first), np.diff(p))
            part = arrays.zeros(self.features, last - first)
            part[arrays.array(self.i[stored].astype(np.int64)), arrays.array(cell)] = arrays.array(self.x[stored])
            matrix[:, first:last] = part
        return matrix


def start(arrays, folder, sets, k):
    """The start of bcnmf: the loadings it has written, each cell's total spread evenly over the factors."""
    w = np.fromfile(folder / f"w_{k}.bin", dtype="<f4").reshape(sets[0].features, k)
    h = [np.tile(counts.totals / np.float32(k), (k, 1)) for counts in sets]
    return arrays.array(w), [arrays.array(hs) for hs in h]


# ---- Measuring


def time_dense(arrays, loss, w, data, h, alpha, look_at, seconds):
    """As bcnmf-gpu-bench does: one sweep that does not count, then at least two, for so long. Objective after `look_at` sweeps."""
    samples, done, seen = [], 0, None
    timed = 0.0
    while True:
        arrays.wait()
        if done == 1:
            began = time.time()
        first = time.perf_counter()
        w, h = sweep(loss, w, data, h, alpha)
        arrays.wait()
        taken = time.perf_counter() - first
        done += 1
        if done > 1:
            samples.append(taken)
            timed += taken
        if done == look_at:
            seen = objective(arrays, loss, w, data, h, alpha)
        if len(samples) >= 2 and timed >= seconds and done >= look_at:
            return dict(seconds=statistics.median(samples), began=began, ended=time.time(), objective=seen)


class Power:
    """What the first GPU draws, by nvidia-smi, if it is there and tells."""

    def __init__(self):
        self.samples, self.process = [], None
        if shutil.which("nvidia-smi"):
            command = ["nvidia-smi", "--id=0", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "-lms", "100"]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            try:
                self.samples.append((time.time(), float(line)))
            except ValueError:
                pass  # such as [N/A]

    def joules(self, of):
        """Energy of a sweep, if known. The first second is left out: what is told is a mean over the last one."""
        if of is None:
            return None
        watts = [watts for when, watts in list(self.samples) if of["began"] + 1 <= when <= of["ended"]]
        return statistics.mean(watts) * of["seconds"] if len(watts) >= 5 else None

    def stop(self):
        if self.process:
            self.process.terminate()


def driver():
    """The driver's version, if nvidia-smi tells it."""
    command = ["nvidia-smi", "--id=0", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def run(binary, *arguments):
    """The lines of bcnmf-gpu-bench. Where it fails it says why by itself, and so does this program's end."""
    done = subprocess.run([str(binary), *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(1)
    return [json.loads(line) for line in done.stdout.splitlines()]


def measure(given, arrays, cells, rows):
    """Appends a row for each number of factors and each loss at this size."""
    common = ["--features", given.features, "--cells", cells, "--density", given.density]
    common += ["--background", given.background, "--alpha", given.alpha, "--seconds", given.seconds]
    common += ["--k", given.k, "--loss", given.losses, "--mib", given.mib]
    with tempfile.TemporaryDirectory() as folder:
        say(f"{cells} cells: bcnmf on the GPU")
        on_gpu = run(given.binary, "sweeps", "--device", "cuda", "--steps", "one,fast", "--dump", folder, *common)
        say(f"{cells} cells: bcnmf on {given.threads} CPU threads")
        on_cpu = run(given.binary, "sweeps", "--device", "cpu", "--steps", "one", "--threads", given.threads, *common)
        dense = Dense(given, arrays, pathlib.Path(folder))
        for k in map(int, given.k.split(",")):
            for loss in given.losses.split(","):
                of = dict(what="sweep", k=k, loss=loss)
                row = dict(k=k, loss=loss, roofs=line(on_gpu, what="roofs"), size=line(on_gpu, what="data"))
                row["gpu"] = line(on_gpu, steps="one", **of)
                row["fast"] = line(on_gpu, steps="fast", **of)
                row["cpu"] = line(on_cpu, steps="one", **of)
                for variant in ("published", "lean") if loss == "poisson" else ("published",):
                    say(f"{cells} cells: dense {variant} updates, {loss}, k = {k}")
                    row[variant] = dense.time(loss, k, variant, look_at=len(row["gpu"]["objectives"]) - 1)
                # Samples of power come a little late.
                time.sleep(0.3)
                for who in ("gpu", "fast", "published"):
                    row[who + "_joules"] = given.power.joules(row[who])
                rows.append(row)


def line(lines, **which):
    """The first line with these values."""
    return next(line for line in lines if which.items() <= line.items())


class Dense:
    """The dense program on the data in a folder."""

    def __init__(self, given, arrays, folder):
        self.given, self.arrays, self.folder = given, arrays, folder
        files = [folder / f"{name}.bin" for name in ("target", "background")]
        self.sets = [Counts(file) for file in files if file.exists()]
        # Of a feature that only the background has, the objective is infinite, and programs differ in what they say instead.
        if len(self.sets) > 1 and not np.bincount(self.sets[0].i, minlength=self.sets[0].features).all():
            sys.exit("A feature has no counts in the target, so that objectives cannot be compared; take more cells.")
        try:
            self.data = [counts.dense(arrays) for counts in self.sets]
        except arrays.out_of_memory:
            self.data = None

    def time(self, loss, k, variant, look_at):
        """None where memory does not suffice."""
        if self.data is None:
            return None
        loss = LOSSES[loss](self.arrays.xp, lean=variant == "lean")
        try:
            w, h = start(self.arrays, self.folder, self.sets, k)
            return time_dense(self.arrays, loss, w, self.data, h, self.given.alpha, look_at, self.given.seconds)
        except self.arrays.out_of_memory:
            return None
        finally:
            self.arrays.free()


# ---- The table


def say(text):
    print(text, file=sys.stderr, flush=True)


def number(value, digits=3):
    if value is None:
        return "–"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}".replace(",", " ")


def percent(value):
    return number(100 * value) + " %"


def times(slow, fast):
    return number(slow["seconds"] / fast["seconds"]) if slow else "does not fit"


def milliseconds(of):
    return number(1e3 * of["seconds"]) if of else "does not fit"


def apart(row):
    """How far objectives are from the GPU's after the same sweeps: the dense program's, and those on CPU threads. Relative."""
    gpu, cpu = row["gpu"]["objectives"], row["cpu"]["objectives"]
    last = min(len(gpu), len(cpu)) - 1
    pairs = [(cpu[last], gpu[last])]
    pairs += [(row[variant]["objective"], gpu[-1]) for variant in ("published", "lean") if row.get(variant)]
    return max(abs(a - b) / abs(b) for a, b in pairs)


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def bars(given, rows):
    """Whether the bars hold, at the largest size there is."""
    rows = [row for row in rows if row["k"] == BAR["k"] and row["loss"] == BAR["loss"]]
    if not rows:
        return f"- The bars are for {BAR['loss']} with K = {BAR['k']}, which this run leaves out.\n"
    largest = rows[-1]
    fitting = [row for row in rows if row["published"]]

    def bar(what, row, value, shown, least):
        verdict = "holds" if value >= least else "does NOT hold"
        return f"- {what} at {number(row['size']['cells'], 6)} cells: {shown}; the bar {verdict}.\n"

    text = bar(
        "Memory roof (at least 50 %)", largest, largest["gpu"]["of_bandwidth"], percent(largest["gpu"]["of_bandwidth"]), 0.5
    )
    if fitting:
        row = fitting[-1]
        ratio = row["published"]["seconds"] / row["gpu"]["seconds"]
        text += bar("Dense PyTorch (at least 20 times)", row, ratio, f"{number(ratio)} times as fast", 20)
    else:
        text += "- Dense PyTorch (at least 20 times): no size fits.\n"
    ratio = largest["cpu"]["seconds"] / largest["gpu"]["seconds"]
    text += bar(f"{given.threads} CPU threads (at least 50 times)", largest, ratio, f"{number(ratio)} times as fast", 50)
    if "H200" not in largest["roofs"]["device"] or largest["size"]["cells"] < BAR["cells"] or given.threads != 2:
        text += "- The bars are for an H200, 1 000 000 cells and two threads: this run does not decide on them.\n"
    return text


def report(given, arrays, rows):
    roofs = rows[-1]["roofs"]
    worst = max(map(apart, rows))
    verdict = "they agree" if worst <= AGREE else "they do NOT agree"
    times_table = table(
        ["cells", "non-zeros", "K", "loss", "bcnmf, ms", "with default steps, ms", "dense, published, ms", "dense, lean, ms"]
        + [f"{given.threads} CPU threads, ms", "times dense", "times dense, lean", "times CPU", "objectives apart"],
        [
            [number(row["size"]["cells"], 3), f"{row['size']['entries']:.2g}", str(row["k"]), row["loss"]]
            + [milliseconds(row["gpu"]), milliseconds(row["fast"]), milliseconds(row["published"])]
            + [milliseconds(row["lean"]) if "lean" in row else "–", milliseconds(row["cpu"]), times(row["published"], row["gpu"])]
            + [times(row["lean"], row["gpu"]) if "lean" in row else "–", times(row["cpu"], row["gpu"]), f"{apart(row):.1e}"]
            for row in rows
        ],
    )
    roofs_table = table(
        ["cells", "K", "loss", "steps", "traffic, GB", "of the memory roof", "with gathers, GB", "of the memory roof"]
        + ["gathered, GB/s", "of the FMA rate", "energy, J", "energy of dense, J", "upload, s"],
        [
            [number(row["size"]["cells"], 3), str(row["k"]), row["loss"], of["steps"], number(of["traffic_compulsory"] / 1e9)]
            + [percent(of["of_bandwidth"]), number(of["traffic_with_gathers"] / 1e9), percent(of["of_bandwidth_with_gathers"])]
            + [number(of["gathered_bytes_per_second"] / 1e9), percent(of["of_flops"]), number(row[who + "_joules"])]
            + [number(row["published_joules"]) if who == "gpu" else "", number(of["upload_seconds"])]
            for row in rows
            for who in ("gpu", "fast")
            for of in [row[who]]
        ],
    )
    return f"""# Measured on a GPU

Written by `bench/gpu/bench.py`; [gpu/README.md](gpu/README.md) says how. Values of one run on one machine.

- Date: {datetime.date.today()}
- GPU: {roofs["device"]}, compute capability {roofs["capability"]}, {number(roofs["memory_bytes"] / 2**30)} GiB, \
{number(roofs["multiprocessors"], 6)} multiprocessors, {number(roofs["cache_bytes"] / 1e6)} MB level-2 cache; \
driver {driver()}, CUDA {roofs["cuda"]}
- Roofs, measured in this run: copies {number(roofs["copied_bytes_per_second"] / 1e9, 4)} GB/s (bytes read and written), \
reads {number(roofs["read_bytes_per_second"] / 1e9, 4)} GB/s; multiplies and adds {number(roofs["flops_per_second"] / 1e12)} TFLOP/s \
in single precision. The memory roof is the faster of copying and reading.
- Dense program: {arrays.name} on {arrays.device}, single precision without TF32
- Data: simulated counts, {given.features} features, {percent(rows[-1]["size"]["entries"] / given.features / rows[-1]["size"]["cells"])} \
non-zeros, {percent(given.background)} of the cells as background with alpha = {given.alpha:g}

## Bars

{bars(given, rows)}- Objectives after the same number of sweeps (ten at most) from the same start differ by at most {worst:.1e} (relative; \
at most {AGREE:g} is taken as agreement): {verdict}.

## A sweep

Medians over about {given.seconds:g} s, after one sweep that does not count. bcnmf takes one step of H and one of W, as published, where no steps are \
named. It measures divergences in every sweep, and rescales W's columns, which changes no product W H; the dense program does neither. \
*Lean*: sums in the place of products with ones. No bar compares with it.

{times_table}
## Against the roofs

{roofs["traffic_model"][0].upper() + roofs["traffic_model"][1:]}. The bar is on compulsory traffic. Energy is the mean power during the timed sweeps times a sweep's time, of the GPU alone.

{roofs_table}"""


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=HERE / "bcnmf-gpu-bench")
    parser.add_argument("--sizes", default="20000,100000,300000,1000000", help="numbers of cells, increasing")
    parser.add_argument("--quick", action="store_true", help="2000 and 20000 cells, about a second for each figure")
    parser.add_argument("--features", type=int, default=3000)
    parser.add_argument("--density", type=float, default=0.08, help="part of the entries that is not zero")
    parser.add_argument("--background", type=float, default=0.33, help="part of the cells that is the background")
    parser.add_argument("--alpha", type=float, default=0.2)
    parser.add_argument("--k", default="20,64")
    parser.add_argument("--losses", default="poisson,mse")
    parser.add_argument("--threads", type=int, default=2, help="of bcnmf on the CPU")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure; energy needs 2 at least")
    parser.add_argument("--mib", type=int, default=2048, help="size of the buffers that roofs are measured with")
    parser.add_argument("--out", type=pathlib.Path, help="default: RESULTS-gpu.md in bench/, or here where there is none")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="of the dense program; cpu is for tests")
    given = parser.parse_args()
    if given.quick:
        given.sizes, given.seconds = "2000,20000", 1.0
    # What a test measures is nothing to keep, unless it says where.
    if given.out is None and given.device == "cuda":
        given.out = (HERE.parent if HERE.parent.name == "bench" else HERE) / "RESULTS-gpu.md"
    return given


def find_arrays(given):
    if np is None:
        sys.exit("bench.py needs numpy, which cannot be imported.")
    if given.device == "cpu":
        return Torch("cpu") if torch else Numpy()
    if torch is None:
        sys.exit("bench.py needs torch, which cannot be imported.")
    if not torch.cuda.is_available():
        sys.exit("bench.py needs an NVIDIA GPU that torch can use, and there is none.")
    return Torch("cuda")


def main():
    given = read_arguments()
    arrays = find_arrays(given)
    if not given.binary.exists():
        sys.exit(f"bench.py needs bcnmf-gpu-bench, and there is no {given.binary}.")
    run(given.binary, "roofs", "--mib", given.mib)
    given.power = Power()
    rows = []
    try:
        for cells in sorted(map(int, given.sizes.split(","))):
            measure(given, arrays, cells, rows)
            # bcnmf is next, with the largest size yet.
            arrays.free()
            text = report(given, arrays, rows)
            if given.out:
                given.out.write_text(text)
    finally:
        given.power.stop()
    print(text)
    if max(map(apart, rows)) > AGREE:
        sys.exit("The programs do not agree.")


if __name__ == "__main__":
    main()
