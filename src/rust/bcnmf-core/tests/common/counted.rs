//! Counts drawn from known programs, sizes and probabilities of dropout.

use super::fortran;
use super::scenario::random;
use bcnmf_core::LossKind;
use bcnmf_core::fit::{By, Dispersion, FitParams, Steps};
use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Open01, Poisson};

/// Number of programs.
pub const RANK: usize = 3;

/// Counts of three programs with these sizes of the features.
pub fn counts(sizes: &[f64], cells: usize, seed: u64) -> Array2<f64> {
    let (w, h) = (
        random(sizes.len(), RANK, 0.6, seed),
        random(RANK, cells, 0.6, seed + 1),
    );
    let mean = 4.0 * w.dot(&h) + 1e-3;
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 2);
    let mut draw = |mean: f64, size: f64| -> f64 {
        let rate = if size.is_finite() {
            Gamma::new(size, mean / size)
                .expect("positive")
                .sample(&mut rng)
        } else {
            mean
        };
        // A gamma rate may be too small for a number.
        Poisson::new(rate).map_or(0.0, |counts| counts.sample(&mut rng))
    };
    let x = Array2::from_shape_fn(mean.dim(), |(i, j)| draw(mean[(i, j)], sizes[i]));
    fortran(&x)
}

/// Loses entries with a probability that depends on feature and cell.
pub fn lose(x: &mut Array2<f64>, probability: impl Fn(usize, usize) -> f64, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for ((i, j), x) in x.indexed_iter_mut() {
        let draw: f64 = Open01.sample(&mut rng);
        if draw < probability(i, j) {
            *x = 0.0;
        }
    }
}

/// 0.5 to 10, evenly in their logarithms.
pub fn some_sizes(n: usize) -> Vec<f64> {
    let step = 20f64.ln() / (n - 1) as f64;
    (0..n).map(|i| 0.5 * (step * i as f64).exp()).collect()
}

/// Sizes that stay.
pub fn fixed(sizes: Vec<f64>) -> Dispersion {
    Dispersion {
        by: By::Fixed,
        shared: true,
        size: [sizes, Vec::new()],
    }
}

/// A fit of such counts.
pub fn params(loss: LossKind, maxit: usize) -> FitParams {
    FitParams {
        maxit,
        tol: 0.0,
        steps: Steps::fast(loss),
        ..FitParams::new(RANK, loss)
    }
}
