//! Parameters of a fit, checked once.

use super::Problem;
use super::problem::check_family;
use crate::error::number;
use crate::loss::LossKind;
use crate::matrix::HoldOut;
use crate::{Error, Result};

/// Sizes are at least 1e-3 and at most 1e6: so far from these single precision still adds and divides.
const LARGEST_WITH_SIZES: f64 = 1e30;

/// Penalties, free of the data's scale.
///
/// With `c = 2` for mse (whose updates follow half the sum of squares) and `c = 1` for poisson, the
/// objective gains `c · (L1 · s₁ · Σ v + L2 · s₂ · Σ v² / 2)`, where the scales `s₁`, `s₂` are such
/// that a strength of 1 is about as strong as the data term for a typical entry, whatever the unit
/// and the size of the data (see [`Penalty::absolute`]). In a mixture of losses those on W are each feature's own, and that on H is that of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalty {
    /// Strength on the sum of entries.
    pub l1: f64,
    /// Strength on half the sum of squares.
    pub l2: f64,
}

impl Penalty {
    /// `(W, H)` penalties for data divided by `unit`.
    ///
    /// With columns of W summing to 1, `μ` the target's mean, `t` its total and `M × N` its size:
    /// H of mse `s₁ = μ`, `s₂ = 1/M`; H of poisson and nb `s₁ = 1`, `s₂ = N/t`; W of mse `s₁ = μ t / K`,
    /// `s₂ = t²/(N K²)`; W of poisson `s₁ = t/K`, `s₂ = t M/K`.
    pub(crate) fn absolute(
        w: Penalty,
        h: Penalty,
        loss: LossKind,
        size: Size,
        unit: f64,
    ) -> (Penalty, Penalty) {
        let (m, n, k) = (size.features as f64, size.cells as f64, size.k as f64);
        let total = size.total / unit;
        let mean = total / (m * n);
        let (w1, w2, h1, h2) = if loss.is_counts() {
            (total / k, total * m / k, 1.0, n / total)
        } else {
            (mean * total / k, total * total / (n * k * k), mean, 1.0 / m)
        };
        (
            Penalty {
                l1: w.l1 * w1,
                l2: w.l2 * w2,
            },
            Penalty {
                l1: h.l1 * h1,
                l2: h.l2 * h2,
            },
        )
    }

    pub(crate) fn is_none(self) -> bool {
        self.l1 == 0.0 && self.l2 == 0.0
    }
}

/// The size of a fit's target, which sets the scale of penalties.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Number of features.
    pub features: usize,
    /// Number of target cells.
    pub cells: usize,
    /// Number of factors.
    pub k: usize,
    /// Sum of the target.
    pub total: f64,
}

/// How the background enters the objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contrast {
    /// The paper's strength: weight `−α`.
    Alpha(f64),
    /// Its scale-free form, `β = α ‖Y‖²/‖X‖²` (mse) or `α ΣY/ΣX` (poisson).
    Beta(f64),
    /// The background is explained with this weight: `+λ`.
    Explain(f64),
    /// The background is explained with this times the weight that makes both sets count the same.
    ExplainBySize(f64),
}

/// What is done to keep the numbers in range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// The columns of W are rescaled to sum to 1 after every W step, and positive entries are kept
    /// above [`crate::real::Real::FLOOR`]. Changes no product W H.
    Normalised,
    /// The published algorithm as it is: no rescaling, no floor, this number added to denominators.
    Plain {
        /// Added to every denominator (and to Λ with poisson).
        guard: f64,
    },
}

/// How many steps are taken before the other side moves. Every single one goes downhill, so any
/// number of them keeps the fixed points; several cheap ones save sweeps (Gillis & Glineur 2012).
///
/// Several steps of mse are passes of coordinate descent (Hsieh & Dhillon 2011), which cost as much as multiplicative steps
/// and go further, except for W from records of few cells, whose noise it would follow, and where
/// entries do not count. One step, and steps of poisson, are multiplicative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// H steps on a cell in a sweep, at least 1.
    pub h: usize,
    /// H steps in the first sweep from a starting W, whose coefficients are all alike: as long as
    /// they are, factors can hardly part.
    pub first: usize,
    /// W steps from one record, at least 1. Only where the record holds for any W: one step
    /// otherwise ([`Loss::lasting`](crate::loss::Loss::lasting)).
    pub w: usize,
}

impl Steps {
    /// One of each: the published algorithm.
    pub const ONE: Steps = Steps {
        h: 1,
        first: 1,
        w: 1,
    };

    /// What paid by the clock: with mse a step more costs factors² for a cell or feature, with
    /// poisson nearly as much as the first, with nb less than the W step.
    pub fn fast(loss: LossKind) -> Self {
        match loss {
            LossKind::Mse => Steps {
                h: 5,
                first: 5,
                w: 5,
            },
            LossKind::Poisson => Steps {
                h: 2,
                first: 10,
                w: 1,
            },
            LossKind::Nb | LossKind::Zinb => Steps {
                h: 3,
                first: 10,
                w: 1,
            },
        }
    }
}

/// Passes over the data in mini-batches of cells, in an order drawn anew for every pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// Target cells of a batch, about: all batches are as large as each other, and the background is cut into as many.
    pub size: usize,
    /// When W moves.
    pub update: Update,
}

/// When W moves in a fit by mini-batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// After every batch, from records of which old batches fade out: online, a good W after few passes.
    Batch,
    /// After every pass, from the sum of all records: the result of a full batch.
    Pass,
}

/// The sizes of negative binomial counts: their variance is `λ + λ²/size`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispersion {
    /// What is estimated.
    pub by: By,
    /// Whether target and background have the same sizes. They are estimated from the target then, and from a background that is explained, with its
    /// weight.
    pub shared: bool,
    /// Sizes of the features in target and background to start from, or to keep; empty to start as Poisson counts. The
    /// first ones count where they are shared. Infinite for Poisson counts; else moved into [`super::SIZES`].
    pub size: [Vec<f64>; 2],
}

impl Default for Dispersion {
    fn default() -> Self {
        Dispersion {
            by: By::Feature,
            shared: true,
            size: Default::default(),
        }
    }
}

/// Dropout of zero-inflated counts: see [`crate::loss::zinb`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dropout {
    /// What has a probability of its own.
    pub per: Per,
    /// Whether probabilities that are given stay as they are.
    pub fixed: bool,
    /// Probabilities of target and background to start from, one for each feature or cell; empty to start with as many losses for all. Features that share their
    /// sizes share these too, and the first ones count.
    pub probability: [Vec<f64>; 2],
}

/// What has a probability of dropout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// Each feature.
    #[default]
    Feature,
    /// Each cell.
    Cell,
}

/// What is estimated of the sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// One for each feature.
    Feature,
    /// One for all.
    Global,
    /// Nothing: they are given.
    Fixed,
}

/// Parameters of a fit. [`FitParams::check`] is called by the drivers.
#[derive(Clone, Debug, PartialEq)]
pub struct FitParams {
    /// Number of factors.
    pub k: usize,
    /// The loss; that of [`Problem::family`] where features have different ones.
    pub loss: LossKind,
    /// Signed weight of the background's divergence: `−α` to contrast, `+λ` to explain.
    pub weight: f64,
    /// The last so many factors are not available to the background.
    pub k_target: usize,
    /// The last so many of these keep the loadings that they start with.
    pub hold: usize,
    /// Most sweeps.
    pub maxit: usize,
    /// Stops when the correlation distance of W between sweeps falls below this.
    pub tol: f64,
    /// Penalty on W.
    pub w_penalty: Penalty,
    /// Penalty on H_X and H_Y.
    pub h_penalty: Penalty,
    /// How numbers are kept in range.
    pub scaling: Scaling,
    /// Steps in a sweep.
    pub steps: Steps,
    /// Whether W goes on in the direction of its last step between sweeps: the objective is that of where it has gone on to, and may
    /// rise now and then. Neither with mini-batches nor with [`Scaling::Plain`].
    pub accelerate: bool,
    /// Part of a background cell's total that a contrast takes as there without any factor, in the
    /// background's mean profile: what bounds the objective from below (see [`crate::loss::poisson`]).
    /// Without meaning where the background is explained, and with mse.
    pub ambient: f64,
    /// Sizes of negative binomial counts, zero-inflated or not; without meaning with other losses.
    pub dispersion: Dispersion,
    /// Dropout of zero-inflated counts; without meaning with other losses.
    pub dropout: Dropout,
    /// Mini-batches; `None` for the full batch. Then `maxit` counts passes over the data, and where W moves after
    /// every batch, `tol` is the part by which a pass must lower the objective for another one to follow.
    pub batches: Option<Batches>,
    /// Entries that the fit does not see. Not with mini-batches.
    pub hold_out: Option<HoldOut>,
    /// Whether factors that do nothing are started anew in the first half of the sweeps. Never when
    /// another fit goes on, where entries are held out, nor with [`Scaling::Plain`].
    pub revive: bool,
}

impl FitParams {
    /// Plain NMF with `k` factors: no background weight, no penalties, 100 sweeps of one
    /// step each, not accelerated, no factor started anew.
    pub fn new(k: usize, loss: LossKind) -> Self {
        FitParams {
            k,
            loss,
            weight: 0.0,
            k_target: 0,
            hold: 0,
            maxit: 100,
            tol: 1e-4,
            w_penalty: Penalty::default(),
            h_penalty: Penalty::default(),
            scaling: Scaling::Normalised,
            steps: Steps::ONE,
            accelerate: false,
            ambient: 0.0,
            dispersion: Dispersion::default(),
            dropout: Dropout::default(),
            batches: None,
            hold_out: None,
            revive: false,
        }
    }

    /// Checks the parameters against each other and the problem.
    ///
    /// # Errors
    /// The first parameter that is out of range.
    pub fn check(&self, problem: &Problem<'_>) -> Result<()> {
        check_family(&problem.mixture, self.loss)?;
        if self.loss.has_sizes() {
            problem.check_largest(LARGEST_WITH_SIZES)?;
        }
        let most = problem.target.rows().min(problem.target.columns());
        within("k", self.k, self.k >= 1 && self.k <= most, || {
            format!("between 1 and {most}, the smaller side of the target")
        })?;
        within("k_target", self.k_target, self.k_target <= self.k, || {
            format!("between 0 and k = {}", self.k)
        })?;
        let (most, hold) = (self.k_target.min(self.k - 1), self.hold);
        within("hold", hold, hold <= most, || {
            format!(
                "between 0 and {most}: some factors must move, and the held ones be target-only"
            )
        })?;
        within("weight", self.weight, self.weight.is_finite(), || {
            "finite".into()
        })?;
        within("tol", self.tol, self.tol >= 0.0, || "at least 0".into())?;
        for (name, penalty) in [("w penalty", self.w_penalty), ("h penalty", self.h_penalty)] {
            for value in [penalty.l1, penalty.l2] {
                within(name, value, value >= 0.0 && value.is_finite(), || {
                    "finite and at least 0".into()
                })?;
            }
        }
        let Steps { h, first, w } = self.steps;
        for (name, steps) in [("h steps", h), ("first h steps", first), ("w steps", w)] {
            within(name, steps, steps >= 1, || "at least 1".into())?;
        }
        let (name, ambient) = ("ambient", self.ambient);
        within(name, ambient, (0.0..1.0).contains(&ambient), || {
            "at least 0 and below 1".into()
        })?;
        if let Some(hold_out) = self.hold_out {
            hold_out.check()?;
            let batches = self.batches.map_or(0, |batches| batches.size);
            within("batch size", batches, batches == 0, || {
                "none where entries are held out".into()
            })?;
        }
        if let Some(Batches { size, .. }) = self.batches {
            within("batch size", size, size >= 1, || "at least 1".into())?;
        }
        if let Scaling::Plain { guard } = self.scaling {
            within("guard", guard, guard >= 0.0 && guard.is_finite(), || {
                "finite and at least 0".into()
            })?;
        }
        Ok(())
    }
}

pub(crate) fn within(
    name: &'static str,
    value: impl std::fmt::Display,
    ok: bool,
    range: impl Fn() -> String,
) -> Result<()> {
    if ok {
        Ok(())
    } else {
        let plain = value.to_string();
        Err(Error::Parameter {
            name,
            value: plain.parse().map_or(plain, number),
            range: range(),
        })
    }
}
