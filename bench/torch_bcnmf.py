"""Dense PyTorch (CPU) re-statement of the published bcNMF updates, for comparison only.

It does what the published program does with its data, in single precision: target and background as dense
matrices, the product W H of full size for each fraction, and, for poisson, matrices of ones of the size of the data
that are multiplied to get row and column sums. nb is not published; it is what the program would do with it. Variants:

  updates    the updates and nothing else
  monitored  and, after each sweep, the divergences of both sets from fresh products, as the published program prints
  lean       the updates with sums in the place of products with ones: what a careful dense program would do

Prints `name value` lines. Needs torch; no other package.
"""

import argparse
import time

import torch

GUARD = {"mse": 1e-10, "poisson": 1e-16, "nb": 1e-16}
SIZE = 2.0


def memory(field):
    """VmRSS (now) or VmHWM (peak) of this process, in MB of 2^20 bytes."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    return float("nan")


def reset_peak():
    """Sets VmHWM back to VmRSS; not every container allows it."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def read_dense(path, cells_per_block=1000):
    """Features, cells, values (int32); then p, i (int32) and x (float32) of a matrix by columns; made dense."""
    with open(path, "rb") as file:

        def read(count, dtype):
            return torch.frombuffer(bytearray(file.read(4 * count)), dtype=dtype)

        features, cells, values = read(3, torch.int32).tolist()
        p = read(cells + 1, torch.int32).long()
        i = read(values, torch.int32)
        x = read(values, torch.float32)
    dense = torch.zeros(features, cells)
    # By blocks, so that filling adds little to the peak.
    for start in range(0, cells, cells_per_block):
        end = min(start + cells_per_block, cells)
        stored = slice(int(p[start]), int(p[end]))
        column = torch.repeat_interleave(torch.arange(start, end), p[start + 1 : end + 1] - p[start:end])
        dense[i[stored].long(), column] = x[stored]
    return dense


class Poisson:
    """Generalised Kullback-Leibler divergence."""

    def __init__(self, lean):
        self.lean = lean
        self.guard = GUARD["poisson"]

    def h_step(self, w, v, h):
        down = w.sum(0)[:, None] if self.lean else w.T @ torch.ones(v.shape)
        product = w @ h
        return h * (w.T @ (v / (product + self.guard))) / (down + self.guard)

    def w_step(self, w, data, h, alpha):
        products = [w @ hs for hs in h]
        sums = [hs.sum(1) if self.lean else torch.ones(v.shape) @ hs.T for v, hs in zip(data, h)]
        (x, y), (hx, hy), (px, py) = data, h, products
        numerator = (x / (px + self.guard)) @ hx.T + alpha * sums[1]
        denominator = (sums[0] + self.guard) + alpha * ((y / (py + self.guard)) @ hy.T)
        return w * numerator / denominator

    def monitor(self, w, v, h):
        rate = w @ h
        rate = torch.where(rate > 0, rate, torch.tensor(self.guard))
        return (v * torch.log(rate) - rate).mean()


class Nb:
    """Negative binomial counts of one size: the same program for the updates of Gouvert, Oberlin and Fevotte 2020 with contrast."""

    def __init__(self, lean):
        self.guard = GUARD["nb"]

    def h_step(self, w, v, h):
        product = w @ h
        return h * (w.T @ (v / (product + self.guard))) / (w.T @ ((v + SIZE) / (product + SIZE)) + self.guard)

    def w_step(self, w, data, h, alpha):
        (x, y), (hx, hy) = data, h
        (px, py) = (w @ hs for hs in h)
        numerator = (x / (px + self.guard)) @ hx.T + alpha * (((y + SIZE) / (py + SIZE)) @ hy.T)
        denominator = ((x + SIZE) / (px + SIZE)) @ hx.T + self.guard + alpha * ((y / (py + self.guard)) @ hy.T)
        return w * numerator / denominator

    def monitor(self, w, v, h):
        rate = w @ h
        rate = torch.where(rate > 0, rate, torch.tensor(self.guard))
        return (v * torch.log(rate) - (v + SIZE) * torch.log(rate + SIZE)).mean()


class Mse:
    """Squared error."""

    def __init__(self, lean):
        self.guard = GUARD["mse"]

    def h_step(self, w, v, h):
        return h * (w.T @ v) / ((w.T @ w) @ h + self.guard)

    def w_step(self, w, data, h, alpha):
        (x, y), (hx, hy) = data, h
        numerator = x @ hx.T + alpha * (w @ (hy @ hy.T))
        denominator = w @ (hx @ hx.T) + alpha * (y @ hy.T) + self.guard
        return w * numerator / denominator

    def monitor(self, w, v, h):
        return ((w @ h - v) ** 2).mean()


def sweep(loss, w, data, h, alpha):
    """Both H steps with the old W, then the W step with the new H."""
    h = [loss.h_step(w, v, hs) for v, hs in zip(data, h)]
    return loss.w_step(w, data, h, alpha), h


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target")
    parser.add_argument("background")
    parser.add_argument("--loss", choices=["mse", "poisson", "nb"], default="poisson")
    parser.add_argument("--variant", choices=["updates", "monitored", "lean"], default="updates")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--alpha", type=float, default=0.2)
    parser.add_argument("--sweeps", default="1,4", help="two numbers: clock stops after the first and the second")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    first, last = (int(n) for n in given.sweeps.split(","))

    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    torch.set_grad_enabled(False)
    torch.ones(8, 8) @ torch.ones(8, 8)  # the libraries' own buffers belong to the state before
    reset_peak()
    before = memory("VmRSS")

    data = [read_dense(path) for path in (given.target, given.background)]
    loss = {"mse": Mse, "poisson": Poisson, "nb": Nb}[given.loss](lean=given.variant == "lean")
    w = torch.rand(data[0].shape[0], given.k)
    h = [torch.rand(given.k, v.shape[1]) for v in data]

    clock = []
    for count in range(1, last + 1):
        w, h = sweep(loss, w, data, h, given.alpha)
        if given.variant == "monitored":
            shown = [loss.monitor(w, v, hs).item() for v, hs in zip(data, h)]
            print("sweep", count, *shown)
        if count in (first, last):
            clock.append((time.perf_counter(), time.process_time()))

    print("version", torch.__version__)
    print("threads", torch.get_num_threads())
    wall, cpu = ((b - a) / (last - first) for a, b in zip(*clock))
    print("seconds_per_sweep", wall)
    print("cpu_per_sweep", cpu)
    print("rss_before_mb", before)
    print("peak_mb", memory("VmHWM"))
    print("finite", bool(torch.isfinite(w).all()))


if __name__ == "__main__":
    main()
