//! Simulated counts with known programs, and how well loadings agree with them.

use bcnmf_core::Matrix;
use bcnmf_core::matrix::Csc;
use bcnmf_core::simulate::{Counts, Simulated, Simulation};
use ndarray::{Array2, ShapeBuilder};

/// What [`planted`] simulates.
pub const FEATURES: usize = 120;

/// Shared programs, and perhaps some that the target alone has and that hold `share` of every cell.
pub fn planted(k_shared: usize, k_target: usize, share: f64, seed: u64) -> Simulated {
    planted_in([250, 200], k_shared, k_target, share, seed)
}

/// The same in so many cells of target and background.
pub fn planted_in(
    [target, background]: [usize; 2],
    k_shared: usize,
    k_target: usize,
    share: f64,
    seed: u64,
) -> Simulated {
    let simulation = Simulation {
        features: FEATURES,
        target,
        background,
        k_shared,
        k_target,
        share,
        depth: 1500.0,
        depth_sd: 0.3,
        loading_shape: 0.3,
        use_shape: 0.3,
        seed,
    };
    simulation.run().expect("valid")
}

pub fn counts(counts: &Counts, features: usize) -> Matrix<'_> {
    let Counts { p, i, x } = counts;
    Matrix::Csc(Csc::new(features, p.len() - 1, p, i, x, "counts").expect("valid"))
}

pub fn dense_counts(counts: &Counts, features: usize) -> Array2<f64> {
    let mut x = Array2::zeros((features, counts.p.len() - 1).f());
    for (j, ends) in counts.p.windows(2).enumerate() {
        for at in ends[0] as usize..ends[1] as usize {
            x[(counts.i[at] as usize, j)] = counts.x[at];
        }
    }
    x
}

pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Cosine of each column of `truth` (`features` values) with its best match in `w`.
pub fn matches(truth: &[f64], w: &[f64], features: usize) -> Vec<f64> {
    let best = |t| {
        w.chunks_exact(features)
            .map(|w| cosine(t, w))
            .fold(0.0, f64::max)
    };
    truth.chunks_exact(features).map(best).collect()
}
