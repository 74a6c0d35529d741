//! Factors that do nothing: found, and started anew from what the model explains worst.

use super::start::normalise_columns;
use super::{FitParams, Problem, Scaling, decreasing};
use crate::matrix::{Columns, Matrix, with_columns};
use crate::real::Real;
use crate::width::{column_sums, padded};
use rayon::prelude::*;

/// Below this part of the target a factor is dead: less than one count of a million. Living factors of
/// real data have had 1e-3 or more, and multiplicative steps hardly take anything back up from here.
const DEAD: f64 = 1e-6;

/// Two factors whose loadings have a larger cosine than this are one. From random starts no two came
/// nearer than 0.98, neither in the first sweeps nor at the end.
const SAME: f64 = 0.999;

/// Sweeps after which a fit looks for such factors.
const LOOKS: [usize; 3] = [10, 20, 40];

/// Cells that a factor is started from, and from how many the worst are chosen.
const FEW: usize = 10;
const MOST_CANDIDATES: usize = 200;
const MOST_CELLS: usize = 2000;

/// Where no cell has this part of its total unexplained, more factors would find nothing.
const WORTHWHILE: f64 = 1e-3;

/// Part of a new factor's loadings that is the target's profile: zeros would stay zeros.
const PROFILE: f64 = 0.1;

/// Part of a cell's total that a new factor starts with: little, so that the objective hardly rises.
const SMALL: f64 = 1e-3;

/// Factors that do nothing, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Degenerate {
    /// Those without a noticeable part of the target.
    pub dead: Vec<usize>,
    /// Those with the loadings of another one, which comes before them: `(factor, twin)`. Shared and
    /// target-only factors are not each other's twins.
    pub duplicates: Vec<(usize, usize)>,
}

impl Degenerate {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.duplicates.is_empty()
    }

    /// Looks at the Gram matrix of W, the factors' totals in the target, and which of them are target-only.
    pub fn find(gram: &[f64], totals: &[f64], target_only: &[bool]) -> Self {
        let k = totals.len();
        let all: f64 = totals.iter().sum();
        let mut found = Degenerate::default();
        let mut alive: Vec<usize> = Vec::new();
        for f in 0..k {
            // NaN is no life either.
            let lives = totals[f] > DEAD * all;
            if !lives {
                found.dead.push(f);
                continue;
            }
            let twin = alive.iter().copied().find(|&a| {
                let norms = (gram[a * k + a] * gram[f * k + f]).sqrt();
                target_only[a] == target_only[f] && gram[a * k + f] > SAME * norms
            });
            match twin {
                Some(twin) => found.duplicates.push((f, twin)),
                None => alive.push(f),
            }
        }
        found
    }
}

/// Whether a fit is to look after so many sweeps: early, or when it would stop, but with as many sweeps
/// left as it took.
pub(crate) fn is_time(params: &FitParams, sweeps: usize, converged: bool) -> bool {
    params.revive
        && params.hold_out.is_none()
        && params.scaling == Scaling::Normalised
        && (converged || LOOKS.contains(&sweeps))
        && 2 * sweeps <= params.maxit
}

/// Starts these dead and duplicate factors anew and says how many. The same for any number of threads.
pub(crate) fn revive<T: Real>(
    problem: &Problem<'_>,
    params: &FitParams,
    unit: f64,
    found: Degenerate,
    w: &mut [T],
    h: &mut [Vec<T>; 2],
) -> usize {
    let stored = padded::<T>(params.k);
    let wanted = found.dead.len() + found.duplicates.len();
    let seeds = Residuals::of(problem, unit, w, &h[0], stored, wanted).seeds(wanted);
    let revived = seeds.len();
    let total = problem.target_summary.sum;
    let dead = found.dead.into_iter().map(|f| (f, None));
    let twins = found
        .duplicates
        .into_iter()
        .map(|(f, twin)| (f, Some(twin)));
    for ((f, twin), seed) in dead.chain(twins).zip(seeds) {
        for (i, row) in w.chunks_exact_mut(stored).enumerate() {
            let share = problem.target_summary.row_sums[i] / total;
            row[f] = T::of((1.0 - PROFILE) * seed[i] + PROFILE * share);
        }
        // The last k_target factors do not exist for the background.
        let available = [true, f < params.k - params.k_target];
        for ((h, sums), available) in h.iter_mut().zip(problem.cell_sums()).zip(available) {
            for (cell, sum) in h.chunks_exact_mut(stored).zip(sums) {
                if let Some(twin) = twin {
                    let own = cell[f];
                    cell[twin] += own;
                }
                let small = if available { SMALL * sum / unit } else { 0.0 };
                cell[f] = T::of(small);
            }
        }
    }
    revived
}

/// Looks for such factors in loadings and the target's coefficients. Of those that are held none is to be started anew: their twins are.
pub(crate) fn look<T: Real>(w: &[T], h: &[T], params: &FitParams) -> Degenerate {
    let (k, stored) = (params.k, padded::<T>(params.k));
    let mut gram = vec![0.0; k * k];
    for row in w.chunks_exact(stored) {
        for a in 0..k {
            for b in 0..k {
                gram[a * k + b] += row[a].wide() * row[b].wide();
            }
        }
    }
    let totals: Vec<f64> = column_sums(w, stored)
        .iter()
        .zip(column_sums(h, stored))
        .take(k)
        .map(|(w, h)| w * h)
        .collect();
    let target_only: Vec<bool> = (0..k).map(|f| f >= k - params.k_target).collect();
    let mut found = Degenerate::find(&gram, &totals, &target_only);
    let moves = |f: usize| f < k - params.hold;
    found.dead.retain(|&f| moves(f));
    for (f, twin) in &mut found.duplicates {
        if !moves(*f) {
            std::mem::swap(f, twin);
        }
    }
    found.duplicates.retain(|&(f, _)| moves(f));
    found
}

/// What the model leaves unexplained of the cells that it explains worst, worst first.
struct Residuals {
    /// Part of the cell's total, and its residuals, which sum to 1.
    cells: Vec<(f64, Vec<f64>)>,
}

impl Residuals {
    fn of<T: Real>(
        problem: &Problem<'_>,
        unit: f64,
        w: &[T],
        h: &[T],
        stored: usize,
        wanted: usize,
    ) -> Self {
        let sums = &problem.target_summary.column_sums;
        // In small cells noise is the larger part.
        let mean = problem.target_summary.sum / sums.len() as f64;
        let large: Vec<usize> = (0..sums.len()).filter(|&j| sums[j] >= mean).collect();
        let step = large.len().div_ceil(MOST_CELLS).max(1);
        let looked_at: Vec<usize> = large.into_iter().step_by(step).collect();
        let residuals = |j: usize| {
            let h = &h[j * stored..][..stored];
            over(&problem.target, j, unit.recip(), |i| {
                let row = &w[i * stored..][..stored];
                row.iter().zip(h).map(|(w, h)| w.wide() * h.wide()).sum()
            })
        };
        let (parts, badly): (Vec<f64>, Vec<usize>) = looked_at
            .par_iter()
            .map(|&j| {
                let left: f64 = residuals(j).iter().map(|(_, r)| r).sum();
                (left * unit / sums[j], j)
            })
            .filter(|(part, _)| *part > WORTHWHILE)
            .unzip();
        let worst = decreasing(parts.iter().copied());
        let most = (2 * FEW * wanted).min(MOST_CANDIDATES);
        let cells = worst.into_iter().take(most).map(|at| {
            let (part, j) = (parts[at], badly[at]);
            let mut dense = vec![0.0; problem.target.rows()];
            for (i, r) in residuals(j) {
                dense[i] = r;
            }
            normalise_columns(&mut dense, 1);
            (part, dense)
        });
        Residuals {
            cells: cells.collect(),
        }
    }

    /// Loadings for so many factors, or for as many as there are cells: each the mean of a cell that is
    /// explained badly and unlike the factors before, and of the cells most like it.
    fn seeds(mut self, wanted: usize) -> Vec<Vec<f64>> {
        let few = self.cells.len().div_ceil(2 * wanted).clamp(1, FEW);
        let mut seeds: Vec<Vec<f64>> = Vec::new();
        while seeds.len() < wanted && !self.cells.is_empty() {
            let score = |(part, r): &(f64, Vec<f64>)| {
                let alike = seeds.iter().map(|s| cosine(s, r)).fold(0.0, f64::max);
                part * (1.0 - alike)
            };
            let scores: Vec<f64> = self.cells.iter().map(score).collect();
            let first =
                (1..scores.len()).fold(
                    0,
                    |best, at| {
                        if scores[at] > scores[best] { at } else { best }
                    },
                );
            let (_, centre) = self.cells.swap_remove(first);
            let nearest = decreasing(self.cells.iter().map(|(_, r)| cosine(&centre, r)));
            let (near, rest) = nearest.split_at((few - 1).min(nearest.len()));
            let mut seed = centre;
            for &at in near {
                let (_, r) = &self.cells[at];
                seed.iter_mut().zip(r).for_each(|(sum, r)| *sum += r);
            }
            let mut left = std::mem::take(&mut self.cells);
            self.cells = rest
                .iter()
                .map(|&at| std::mem::take(&mut left[at]))
                .collect();
            normalise_columns(&mut seed, 1);
            seeds.push(seed);
        }
        seeds
    }
}

/// By how much cell `j` exceeds its rate, feature by feature.
fn over(
    matrix: &Matrix<'_>,
    j: usize,
    scale: f64,
    rate: impl Fn(usize) -> f64,
) -> Vec<(usize, f64)> {
    with_columns!(matrix, block => block
        .column(j)
        .map(|(i, x)| (i, (x * scale - rate(i)).max(0.0)))
        .collect())
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_and_duplicate_factors_are_found() {
        let w = [[1.0, 0.0], [0.0, 1.0], [0.01, 1.0], [2.0, 0.0], [1.0, 1.0]];
        let gram: Vec<f64> = w
            .iter()
            .flat_map(|a| w.iter().map(move |b| a[0] * b[0] + a[1] * b[1]))
            .collect();
        let find = |totals: [f64; 5], only: [bool; 5]| Degenerate::find(&gram, &totals, &only);
        let found = find([1.0; 5], [false; 5]);
        assert_eq!(
            (found.dead, found.duplicates),
            (vec![], vec![(2, 1), (3, 0)])
        );
        // A dead one has no twin, and kinds do not mix.
        let found = find(
            [1e-9, 1.0, 1.0, 1.0, f64::NAN],
            [false, false, true, false, false],
        );
        assert!(found.duplicates.is_empty() && found.dead.len() == 5);
        let found = find(
            [1e-9, 1.0, 1.0, 1.0, 0.0],
            [false, false, true, false, false],
        );
        assert_eq!((found.dead, found.duplicates), (vec![0, 4], vec![]));
    }

    #[test]
    fn held_factors_are_left_alone() {
        let params = |hold: usize| FitParams {
            k_target: 2,
            hold,
            ..FitParams::new(3, crate::LossKind::Mse)
        };
        let w = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0]].concat();
        let find = |h: [f64; 4], hold: usize| {
            let found = look::<f64>(&w, &h, &params(hold));
            (found.dead, found.duplicates)
        };
        let alike = [1.0, 1.0, 1.0, 0.0];
        assert_eq!(find(alike, 0), (vec![], vec![(2, 1)]));
        assert_eq!(find(alike, 1), (vec![], vec![(1, 2)]));
        assert_eq!(find(alike, 2), (vec![], vec![]));
        let dead = [1.0, 1.0, 0.0, 0.0];
        assert_eq!(find(dead, 0), (vec![2], vec![]));
        assert_eq!(find(dead, 1), (vec![], vec![]));
    }
}
