//! The losses: one file each, all behind [`Loss`].
//!
//! A step is multiplicative (several of mse: coordinate descent, see [`mse`]) and minimises a majoriser of its objective at the current point
//! (MM), so for fixed `W` an H step cannot increase `D`, and for fixed `H` a W step cannot increase
//! `F = D(X ‖ W H_X) + s · D(Y ‖ W H_Y)`, whatever the sign of `s`: the parts of `F` that are concave
//! in `W` are replaced by their tangents, and the linear parts with a negative sign move to the
//! numerator (`w ≥ w₀ (1 + log(w/w₀))`).
//!
//! What few cells need, and what is the same for all numbers of factors, is a `WithSimd` of its own, which is compiled once: a copy in
//! every kernel would be as large as all the rest of it.

pub(crate) mod abreast;
mod elementary;
mod log_sum;
pub(crate) mod mixture;
pub mod mse;
pub mod nb;
pub mod poisson;
mod rising;
mod tile;
pub mod zinb;

pub(crate) use elementary::{exp_f32, exp_f64, ln_f32, ln_f64};
pub use mixture::Squares;
pub use nb::Dispersed;
pub(crate) use nb::is_dispersed;
pub(crate) use tile::{ABREAST, TILE, Tile, Zeros, ZerosRecord};

use crate::aligned::Aligned;
use crate::group::{Each, GROUP};
use crate::matrix::Cell;
use crate::real::{Real, count};
use crate::stats::WStats;
use crate::width::Width;
use pulp::Simd;

/// The losses by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// Sum of squared errors, `‖X − W H‖²`.
    Mse,
    /// Generalised Kullback–Leibler divergence, `Σ x log(x/λ) − x + λ`: Poisson counts.
    Poisson,
    /// Negative binomial log-likelihood: overdispersed counts, see [`nb`].
    Nb,
    /// Zero-inflated negative binomial log-likelihood: such counts of which some are lost, see [`zinb`].
    Zinb,
}

impl LossKind {
    /// The loss of that name ("mse", "poisson", "nb" or "zinb").
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn from_name(name: &str) -> crate::Result<Self> {
        match name {
            "mse" => Ok(LossKind::Mse),
            "poisson" => Ok(LossKind::Poisson),
            "nb" => Ok(LossKind::Nb),
            "zinb" => Ok(LossKind::Zinb),
            _ => Err(crate::Error::Parameter {
                name: "loss",
                value: format!("\"{name}\""),
                range: "\"mse\", \"poisson\", \"nb\" or \"zinb\"".into(),
            }),
        }
    }

    /// The factor between the penalties' gradient and the divergence's: the mse updates follow
    /// half the sum of squares.
    pub(crate) fn penalty_factor(self) -> f64 {
        if self.is_counts() { 1.0 } else { 2.0 }
    }

    /// What a divergence of data divided by `unit` is multiplied by to be that of the data.
    pub(crate) fn to_user(self, unit: f64) -> f64 {
        if self.is_counts() { unit } else { unit * unit }
    }

    /// Whether the data are counts.
    pub fn is_counts(self) -> bool {
        self != LossKind::Mse
    }

    /// Whether features have sizes.
    pub fn has_sizes(self) -> bool {
        matches!(self, LossKind::Nb | LossKind::Zinb)
    }
}

/// Calls `$call` with `$loss` bound to the loss of kind `$kind`.
macro_rules! with_loss {
    ($kind:expr, $loss:ident => $call:expr) => {
        match $kind {
            $crate::loss::LossKind::Mse => {
                let $loss = $crate::loss::mse::Mse;
                $call
            }
            $crate::loss::LossKind::Poisson => {
                let $loss = $crate::loss::poisson::Poisson;
                $call
            }
            $crate::loss::LossKind::Nb | $crate::loss::LossKind::Zinb => {
                let $loss = $crate::loss::nb::Nb;
                $call
            }
        }
    };
}
pub(crate) use with_loss;

/// Entries that are missing count a little after all, as if they were what they are fitted by at the start of a step. That majorises the divergence of
/// the others and moves no fixed point. Without it, where all that a cell shows are features that a factor has next to nothing of, its
/// coefficient could grow without an end at once, and what is left after taking off the others would be rounding.
pub(crate) const SLACK: f64 = 1e-3;

/// How H steps are taken on one cell.
#[derive(Clone, Copy, Debug)]
pub struct Control<T> {
    /// H steps taken on a cell while it is in cache; 0 only evaluates the divergence.
    pub steps: usize,
    /// Further steps end when no coefficient changed by more than this part of the largest.
    pub tolerance: T,
    /// Added to denominators.
    pub guard: T,
    /// Positive coefficients do not fall below this.
    pub floor: T,
    /// How often entries that do not count are taken to be what they are fitted by: see [`SLACK`].
    pub slack: T,
    /// Penalty on the sum of a cell's coefficients.
    pub l1: T,
    /// Penalty on half their sum of squares.
    pub l2: T,
    /// Whether the divergence is wanted of a loss that has to work for it.
    pub measures: bool,
}

/// What a sweep needs of `W`: the loadings and what the loss derives from them once a sweep.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'w, T> {
    /// Features × factors, row by row, padded.
    pub w: &'w [T],
    /// [`Loss::shared`] of these loadings.
    pub shared: &'w [T],
    /// How often the features count; empty where all count once.
    pub weight: &'w [T],
    /// Added to fitted rates that data are divided by.
    pub guard: T,
    /// Profile (features, sum 1) of the rate that a cell has without any factor; empty when there is
    /// none. Counts only, see [`poisson`].
    pub ambient: &'w [T],
    /// Its sum, each feature times its weight.
    pub ambient_sum: T,
    /// Sizes of the features, nb only.
    pub dispersed: Dispersed<'w, T>,
}

impl<'w, T: Real> Basis<'w, T> {
    /// That of so many first features, and that of the others, which have squared errors; `shared` is theirs.
    pub(crate) fn parts(
        self,
        shared: &'w [T],
        counts: usize,
        factors: usize,
    ) -> (Self, Option<Self>) {
        let (w, others) = self.w.split_at(counts * factors);
        if others.is_empty() {
            return (self, None);
        }
        let squares = Basis {
            w: others,
            shared,
            weight: &self.weight[counts..],
            ambient: &[],
            ambient_sum: T::zero(),
            ..self
        };
        let ambient = self.ambient.get(..counts).unwrap_or_default();
        (Basis { w, ambient, ..self }, Some(squares))
    }
}

impl<T: Real> Basis<'_, T> {
    /// Number of features.
    #[inline(always)]
    pub(crate) fn features(&self, factors: usize) -> usize {
        self.w.len() / factors
    }

    /// How often a feature counts.
    #[inline(always)]
    pub(crate) fn weight_of(&self, feature: usize) -> T {
        count(self.weight, feature)
    }

    /// Multiplies what a group's entries have by the weights of their features.
    #[inline(always)]
    fn weigh(&self, index: &Each<u32>, values: &mut Each<T>) {
        if self.weight.is_empty() {
            return;
        }
        for (value, &i) in values.iter_mut().zip(index) {
            *value *= self.weight[i as usize];
        }
    }
}

/// What predictions of held-out entries of a set are measured by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Yardstick<'w, T> {
    /// The set's mean profile (features, sum 1), for a loss that has to smooth its predictions.
    pub profile: &'w [T],
    /// Weight of each feature's divergence.
    pub weight: &'w [T],
}

impl<'w, T> Yardstick<'w, T> {
    /// That of the features after the first ones; empty where nothing is held out.
    pub(crate) fn after(self, features: usize) -> Yardstick<'w, T> {
        Yardstick {
            profile: self.profile.get(features..).unwrap_or_default(),
            weight: self.weight.get(features..).unwrap_or_default(),
        }
    }
}

/// What a cell had before its H steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before {
    /// Its divergence.
    pub divergence: f64,
    /// How many of its counts would be lost if they were zeros, each as often as its feature counts: what a tile has too much in [`Tile::lost`].
    pub lost: f64,
}

impl From<f64> for Before {
    fn from(divergence: f64) -> Self {
        Before {
            divergence,
            lost: 0.0,
        }
    }
}

/// A few cells, and their coefficients before and after their H steps.
pub struct Few<'f, 'c, T> {
    /// At most [`GROUP`].
    pub cells: &'f [Cell<'c, T>],
    /// How their steps are taken: alike, but for penalties.
    pub controls: &'f [Control<T>],
    /// Cells × factors, padded.
    pub h: &'f [T],
    /// Where the new ones go.
    pub h_next: &'f mut [T],
    /// What the cells had before.
    pub before: [Before; GROUP],
}

impl<T: Real> Few<'_, '_, T> {
    /// The steps of one of them.
    #[inline(always)]
    fn step_one<S: Simd, K: Width>(
        &mut self,
        loss: impl Loss,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        at: usize,
    ) {
        let mut h = copied(width, self.h, at);
        let (cell, control) = (self.cells[at], &self.controls[at]);
        self.before[at] = loss.h_step(simd, width, basis, cell, h.as_mut(), control);
        width.row_mut(self.h_next, at).copy_from_slice(h.as_ref());
    }
}

/// A copy of one item's factors, which nothing else can point to, and which stays in registers.
#[inline(always)]
pub(crate) fn copied<T: Real, K: Width>(width: K, items: &[T], at: usize) -> K::Vector<T> {
    let mut copy = width.zeros::<T>();
    copy.as_mut().copy_from_slice(width.row(items, at));
    copy
}

/// One loss: a cell's data and a basis give updated coefficients `h` and an additive record.
///
/// Entries that do not count ([`Cell::masked`]) are in no sum; what the others have for a cell counts as often as their features
/// ([`Basis::weight`]), and what they have for the record as often as their cell ([`Cell::weight`]). Factors are padded (see [`crate::width`]).
pub trait Loss: Copy + Send + Sync {
    /// Whether zeros are looked at one by one. What they have is then taken for tiles of cells ([`Zeros`], [`ZerosRecord`]), before the cells' own steps.
    const DENSE: bool = false;
    /// Whether it pays to work on a few cells side by side ([`Loss::h_steps`], [`Loss::record`]).
    const ABREAST: bool = false;

    /// What all columns need of `W` beside `W`: `WᵀW` (mse) or column sums (poisson), each feature as often as it counts.
    fn shared<T: Real>(self, w: &[T], weight: &[T], factors: usize) -> Aligned<T>;

    /// Takes `control.steps` H steps on one cell, in place, and returns what the cell had *before* them.
    fn h_step<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        cell: Cell<'_, T>,
        h: &mut [T],
        control: &Control<T>,
    ) -> Before;

    /// Entries of the record's denominator.
    fn denominator_len(self, factors: usize) -> usize;

    /// Adds one cell to the record, with the basis and the cell's new coefficients.
    fn w_stats<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        cell: Cell<'_, T>,
        h: &[T],
        stats: &mut WStats<T>,
    );

    /// [`Loss::h_step`] on a few cells.
    #[inline(always)]
    fn h_steps<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        few: &mut Few<'_, '_, T>,
    ) {
        for at in 0..few.cells.len() {
            few.step_one(self, simd, width, basis, at);
        }
    }

    /// [`Loss::w_stats`] of a few cells, in their order; `h`: cells × factors.
    #[inline(always)]
    fn record<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        cells: &[Cell<'_, T>],
        h: &[T],
        stats: &mut WStats<T>,
    ) {
        for (at, &cell) in cells.iter().enumerate() {
            let own = copied(width, h, at);
            self.w_stats(simd, width, basis, cell, own.as_ref(), stats);
        }
    }

    /// The divergence of the entries that do not count, each times its feature's weight.
    fn held_out<S: Simd, T: Real, K: Width>(
        self,
        simd: S,
        width: K,
        basis: Basis<'_, T>,
        cell: Cell<'_, T>,
        h: &[T],
        yardstick: Yardstick<'_, T>,
    ) -> f64;

    /// Adds to the derivatives by the logarithms of the sizes, and of the odds of dropout, what a cell's entries that are not zeros have beyond what
    /// zeros in their place would.
    fn sizes<S: Simd, T: Real, K: Width>(
        self,
        _simd: S,
        _width: K,
        _basis: Basis<'_, T>,
        _cell: Cell<'_, T>,
        _h: &[T],
        _stats: &mut WStats<T>,
    ) {
    }

    /// The part of a cell's divergence that hangs on data and sizes alone, to be taken off.
    fn excess<T: Real>(self, _basis: Basis<'_, T>, _cell: Cell<'_, T>) -> f64 {
        0.0
    }

    /// Whether a record of cells in which all entries count holds for any W, not only for the one it was
    /// made with: then several W steps can be taken from it. Its divergence is quadratic in W, and its denominator the
    /// Gram matrix.
    fn lasting(self) -> bool;

    /// The denominator of one feature's W step, from the summed record and the feature's loadings.
    fn denominator(self, record: &[f64], w_row: &[f64], out: &mut [f64]);

    /// The minimiser of the majoriser: `value · numerator / denominator` when there is no penalty.
    fn update(
        self,
        value: f64,
        numerator: f64,
        denominator: f64,
        l1: f64,
        l2: f64,
        guard: f64,
    ) -> f64;
}

/// Keeps a positive value above the floor while something pulls it up; what is zero, or pulled by
/// nothing, becomes or stays exactly zero.
#[inline(always)]
pub(crate) fn floored<T: Real>(new: T, old: T, numerator: T, floor: T) -> T {
    // Without branches, for loops over registers.
    if (new < floor) & (old > T::zero()) & (numerator > T::zero()) {
        floor
    } else {
        new
    }
}

/// Zero for what is below zero or so small against the value before that rounding is a good part of it, which a
/// rescaling of its factor would make something of: downhill as well, and the next pass finds what is missing.
/// NaN stays NaN.
#[inline(always)]
pub(crate) fn above_rounding<T: Real>(value: T, old: T) -> T {
    if value < old * T::epsilon().sqrt() {
        T::zero()
    } else {
        value
    }
}

/// Takes back what rounding has left below zero after a subtraction.
#[inline(always)]
pub(crate) fn not_negative<T: Real>(values: &mut [T]) {
    values.iter_mut().for_each(|v| *v = v.max(T::zero()));
}

/// Applies `update` to all coefficients of a cell; true when they changed by no more than the
/// tolerance.
#[inline(always)]
pub(crate) fn update_cell<T: Real>(
    loss: impl Loss,
    h: &mut [T],
    numerator: &[T],
    denominator: &[T],
    control: &Control<T>,
) -> bool {
    let [l1, l2, guard] = [control.l1, control.l2, control.guard].map(T::wide);
    let looks = control.tolerance > T::zero();
    let (mut largest, mut change) = (T::zero(), T::zero());
    for ((h, p), q) in chunks(h)
        .zip(numerator.as_chunks().0)
        .zip(denominator.as_chunks().0)
    {
        let old = *h;
        update_few(loss, h, p, q, [l1, l2, guard], control.floor);
        if looks {
            for (&new, &old) in h.iter().zip(&old) {
                change = change.max((new - old).abs());
                largest = largest.max(new);
            }
        }
    }
    looks && change <= control.tolerance * largest
}

/// Padded vectors have no rest.
#[inline(always)]
fn chunks<T>(vector: &mut [T]) -> impl Iterator<Item = &mut [T; 4]> {
    vector.as_chunks_mut().0.iter_mut()
}

#[inline(always)]
fn update_few<T: Real>(
    loss: impl Loss,
    h: &mut [T; 4],
    numerator: &[T; 4],
    denominator: &[T; 4],
    [l1, l2, guard]: [f64; 3],
    floor: T,
) {
    for ((h, &p), &q) in h.iter_mut().zip(numerator).zip(denominator) {
        // In double: one rounding a step instead of three, at no cost beside the products.
        let new = T::of(loss.update(h.wide(), p.wide(), q.wide(), l1, l2, guard));
        *h = floored(new, *h, p, floor);
    }
}
