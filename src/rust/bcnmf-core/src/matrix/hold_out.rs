//! Entries that are left out of a fit, to see how well it predicts them.

use super::{CellBuffer, Matrix};
use crate::error::number;
use crate::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1};

/// A speckled hold-out (Wold 1978; Owen & Perry 2009): each entry of target and background is left out of
/// all sums with this probability.
///
/// Which ones follows from the seed and the place alone. Nothing is stored, and the same cell of the
/// same matrix has the same entries left out in any fit with that seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HoldOut {
    /// Seed of the places.
    pub seed: u64,
    /// Expected part of the entries, above 0 and below 1.
    pub part: f64,
}

impl HoldOut {
    /// # Errors
    /// A part outside (0, 1).
    pub fn check(self) -> Result<()> {
        if self.part > 0.0 && self.part < 1.0 {
            return Ok(());
        }
        Err(Error::Parameter {
            name: "hold_out",
            value: number(self.part),
            range: "between 0 and 1, both excluded".into(),
        })
    }

    /// The features, of so many, that are left out of a cell of the target or of the background,
    /// increasing.
    pub fn features(
        self,
        features: usize,
        background: bool,
        cell: usize,
    ) -> impl Iterator<Item = u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(2 * cell as u64 + u64::from(background));
        // Gaps between the marked ones of independent trials are geometric: an exponential, rounded down.
        let scale = -(-self.part).ln_1p().recip();
        let mut next = 0.0;
        std::iter::from_fn(move || {
            let gap: f64 = Exp1.sample(&mut rng);
            let at = next + (gap * scale).floor();
            next = at + 1.0;
            (at < features as f64).then_some(at as u32)
        })
    }
}

/// The entries of a matrix that are held out, cell by cell: features, cells and values.
pub fn held_out_entries(
    matrix: &Matrix<'_>,
    hold_out: HoldOut,
    background: bool,
) -> (Vec<u32>, Vec<u32>, Vec<f64>) {
    let (mut features, mut cells, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = CellBuffer::<f64>::default();
    for j in 0..matrix.columns() {
        let marked = hold_out.features(matrix.rows(), background, j);
        let cell = buffer.gather(matrix, j, 1.0, Some(marked));
        features.extend_from_slice(cell.held_at);
        values.extend_from_slice(cell.held);
        cells.resize(features.len(), j as u32);
    }
    (features, cells, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_is_kept_and_places_are_fixed() {
        for part in [0.02, 0.1, 0.5, 0.9] {
            let hold_out = HoldOut { seed: 7, part };
            hold_out.check().expect("in range");
            let rows = 1000;
            let mut left_out = vec![0_usize; rows];
            for cell in 0..200 {
                let features: Vec<u32> = hold_out.features(rows, true, cell).collect();
                assert!(features.windows(2).all(|w| w[0] < w[1]));
                assert!(
                    hold_out
                        .features(rows, true, cell)
                        .eq(features.iter().copied())
                );
                features.iter().for_each(|&i| left_out[i as usize] += 1);
            }
            let mean = left_out.iter().sum::<usize>() as f64 / (200 * rows) as f64;
            assert!((mean - part).abs() < 0.005, "{mean} for {part}");
            // first and last features as often as any
            for edge in [&left_out[..50], &left_out[rows - 50..]] {
                let mean = edge.iter().sum::<usize>() as f64 / (200 * 50) as f64;
                assert!((mean - part).abs() < 0.03, "{mean} for {part} at the edge");
            }
        }
        let places = |seed, background, cell| -> Vec<u32> {
            HoldOut { seed, part: 0.5 }
                .features(100, background, cell)
                .collect()
        };
        let first = places(8, false, 0);
        for other in [places(7, false, 0), places(8, true, 0), places(8, false, 1)] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for part in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(HoldOut { seed: 1, part }.check().is_err());
        }
    }
}
