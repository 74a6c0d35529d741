//! What a sweep moves and computes at least: the numbers that seconds are held against.

use bcnmf_core::LossKind;

/// Bytes of an index or a value.
const WORD: f64 = 4.0;
/// Entries that bcnmf-core works on at a time (`backend/cuda/data.rs`): the cells whose H is gathered from.
const CHUNK: f64 = (1 << 24) as f64;

/// A sweep on a device.
pub struct Sweep {
    pub features: f64,
    pub cells: f64,
    pub entries: f64,
    pub factors: f64,
    /// H steps in a sweep.
    pub steps: f64,
    pub loss: LossKind,
    /// Bytes of the level-2 cache.
    pub cache: f64,
}

/// The model in words, printed with the numbers.
pub const MODEL: &str = "compulsory: each stored entry is read twice as index and value (8 bytes), by cell for all H steps \
of a sweep and by feature for the numerators, and H is read once and written once; with gathers: also H read and written by \
normalisation where H exceeds the level-2 cache, a row of H (4 K bytes) for each entry of the numerators and H again for the \
denominators where the H of a chunk of 2^24 entries exceeds half of that cache, and a row of W for each entry and each look of \
the H steps at it (poisson: every step, mse: once) where W does; gathered: these rows wherever they come from. Padding, W \
itself and sums are not counted";

impl Sweep {
    /// Bytes of a vector of factors.
    fn row(&self) -> f64 {
        WORD * self.factors
    }

    fn h(&self) -> f64 {
        self.row() * self.cells
    }

    /// How often H steps look at an entry: those of squared errors know all from the first look.
    fn looks(&self) -> f64 {
        match self.loss {
            LossKind::Mse => 1.0,
            _ => self.steps,
        }
    }

    /// Bytes through the device's memory if caches were perfect.
    pub fn compulsory(&self) -> f64 {
        2.0 * 2.0 * WORD * self.entries + 2.0 * self.h()
    }

    /// Bytes through the device's memory with what can't stay in its cache.
    pub fn with_gathers(&self) -> f64 {
        let mut bytes = self.compulsory();
        if self.h() > self.cache {
            bytes += 2.0 * self.h();
        }
        if self.h() * (CHUNK / self.entries).min(1.0) > 0.5 * self.cache {
            bytes += self.row() * self.entries + self.h();
        }
        if self.row() * self.features > 0.5 * self.cache {
            bytes += self.looks() * self.row() * self.entries;
        }
        bytes
    }

    /// Bytes of rows that are gathered, from caches for the most part.
    pub fn gathered(&self) -> f64 {
        (self.looks() + 1.0) * self.row() * self.entries
    }

    /// Floating-point operations: two for a multiplication with an addition.
    pub fn operations(&self) -> f64 {
        let (k, steps) = (self.factors, self.steps);
        match self.loss {
            // WᵀX, WᵀW h and, with several steps, as much for each of them; X Hᵀ, H Hᵀ.
            LossKind::Mse => {
                let descents = if steps > 1.0 { steps } else { 0.0 };
                4.0 * k * self.entries + 2.0 * k * k * (2.0 + descents) * self.cells
            }
            // For each entry a rate and a row added up, in each step and for the numerators.
            _ => 4.0 * k * (steps + 1.0) * self.entries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_a_cache_is_not_counted_twice() {
        let sweep = Sweep {
            features: 3000.0,
            cells: 1e6,
            entries: 2.4e8,
            factors: 20.0,
            steps: 1.0,
            loss: LossKind::Poisson,
            cache: 60e6,
        };
        assert_eq!(sweep.compulsory(), 16.0 * 2.4e8 + 160e6);
        // H as a whole does not fit, that of a chunk does.
        assert_eq!(sweep.with_gathers(), sweep.compulsory() + 160e6);
        assert_eq!(sweep.gathered(), 160.0 * 2.4e8);
        assert_eq!(sweep.operations(), 160.0 * 2.4e8);
        let small = Sweep {
            cache: 1e5,
            ..sweep
        };
        assert_eq!(
            small.with_gathers(),
            small.compulsory() + 160e6 + 80e6 + 160.0 * 2.4e8
        );
    }
}
