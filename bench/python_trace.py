"""One Python program's fit of the target alone, traced; called by peers.R.

Programs: scikit-learn's NMF (multiplicative updates for poisson, coordinate descent for mse) and MiniBatchNMF, and the
published updates in dense PyTorch. All in single precision. Prints `name value` lines, and for every checkpoint
`trace sweeps seconds objective`: seconds of fitting until there, without the evaluation of the objective.
"""

import argparse
import time
import warnings

import numpy as np

from torch_bcnmf import memory, reset_peak


def read_counts(path):
    """The file of torch_bcnmf.read_dense(), as a sparse matrix cells x features."""
    import scipy.sparse

    with open(path, "rb") as file:
        features, cells, values = np.fromfile(file, np.int32, 3)
        p = np.fromfile(file, np.int32, cells + 1)
        i = np.fromfile(file, np.int32, values)
        x = np.fromfile(file, np.float32, values)
    return scipy.sparse.csr_matrix((x, i, p), shape=(cells, features))


def objective(x, h, w, loss):
    """Sum of squares or generalised Kullback-Leibler divergence, in double; h: cells x factors, w: factors x features."""
    h, w = h.astype(np.float64), w.astype(np.float64)
    if loss == "mse":
        return (x.data.astype(np.float64) ** 2).sum() - 2 * ((x @ w.T) * h).sum() + ((w @ w.T) * (h.T @ h)).sum()
    total = h.sum(0) @ w.sum(1)
    for start in range(0, x.shape[0], 1000):
        part = x[start : start + 1000]
        cell = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
        values = part.data.astype(np.float64)
        fit = (h[start : start + 1000][cell] * w.T[part.indices]).sum(1)
        with np.errstate(divide="ignore"):
            total += (values * np.log(values / fit) - values).sum()
    return total


def trace(sweeps, seconds, value):
    print("trace", sweeps, seconds, value, flush=True)


def checkpoints(most):
    """Sweeps after which to look: close at first, then further apart."""
    at, step = [], 2
    while not at or at[-1] < most:
        at.append((at[-1] if at else 0) + step)
        step = min(2 * step, 20)
    return at


def sklearn_full(x, given, w, h):
    from sklearn.decomposition import NMF

    how = {"solver": "mu", "beta_loss": "kullback-leibler"} if given.loss == "poisson" else {"solver": "cd"}
    seconds, done, last = 0.0, 0, None
    for at in checkpoints(given.sweeps):
        model = NMF(given.k, init="custom", tol=0, max_iter=at - done, **how)
        start = time.perf_counter()
        h = model.fit_transform(x, W=np.ascontiguousarray(h), H=np.ascontiguousarray(w))
        took = time.perf_counter() - start
        w = model.components_
        seconds, last, done = seconds + took, took / (at - done), at
        value = objective(x, h, w, given.loss)
        trace(at, seconds, value)
        if value <= given.goal:
            break
    print("seconds_per_sweep", last)


def sklearn_batches(x, given, w, h):
    from sklearn.decomposition import MiniBatchNMF

    how = "kullback-leibler" if given.loss == "poisson" else "frobenius"
    per_pass = None
    for passes in (1, 2, 3, 5, 10):
        model = MiniBatchNMF(given.k, init="custom", beta_loss=how, tol=0, max_no_improvement=None, max_iter=passes, batch_size=500)
        start = time.perf_counter()
        found = model.fit_transform(x, W=np.ascontiguousarray(h), H=np.ascontiguousarray(w))
        took = time.perf_counter() - start
        per_pass = took / passes
        trace(passes, took, objective(x, found, model.components_, given.loss))
    print("seconds_per_sweep", per_pass)


def torch_full(x, given, w, h):
    import torch
    from torch_bcnmf import Mse, Poisson, read_dense

    torch.set_num_threads(given.threads)
    torch.set_grad_enabled(False)
    loss = Poisson(lean=False) if given.loss == "poisson" else Mse(lean=False)
    dense, w, h = read_dense(given.target), torch.from_numpy(w.T.copy()), torch.from_numpy(h.T.copy())
    nothing, none = torch.zeros(dense.shape[0], 1), torch.zeros(given.k, 1)
    seconds, done = 0.0, 0
    looked = checkpoints(given.sweeps)
    while done < looked[-1]:
        start = time.perf_counter()
        h = loss.h_step(w, dense, h)
        w = loss.w_step(w, [dense, nothing], [h, none], 0.0)
        seconds += time.perf_counter() - start
        done += 1
        if done in looked:
            value = objective(x, h.numpy().T, w.numpy().T, given.loss)
            trace(done, seconds, value)
            if value <= given.goal:
                break
    print("seconds_per_sweep", seconds / done)


def main():
    programs = {"scikit-learn": sklearn_full, "scikit-learn mini-batches": sklearn_batches, "torch": torch_full}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target")
    parser.add_argument("start", help="features x k, single precision, row by row")
    parser.add_argument("--program", choices=list(programs), required=True)
    parser.add_argument("--loss", choices=["mse", "poisson"], required=True)
    parser.add_argument("--k", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--sweeps", type=int, required=True, help="at most")
    parser.add_argument("--goal", type=float, default=0.0, help="ends when the objective is as low as this")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")

    if given.program == "torch":
        import torch as library
    else:
        import sklearn as library
        import sklearn.decomposition
    from threadpoolctl import threadpool_limits

    threadpool_limits(given.threads)
    np.ones((8, 8)) @ np.ones((8, 8))
    reset_peak()
    before = memory("VmRSS")
    x = read_counts(given.target)
    w = np.fromfile(given.start, np.float32).reshape(-1, given.k).T
    w = np.ascontiguousarray(w / w.sum(1, keepdims=True))
    # A cell's total, spread evenly: the start of bcnmf().
    h = np.repeat(np.asarray(x.sum(1), np.float32) / given.k, given.k, axis=1)
    programs[given.program](x, given, w, h)
    print("version", library.__version__)
    print("memory_mb", memory("VmHWM") - before)


if __name__ == "__main__":
    main()
