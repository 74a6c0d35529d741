//! The W step: from summed records to new loadings, the same for every loss and weight.

use crate::group::{Each, GROUP};
use crate::loss::abreast::{self, Descent};
use crate::loss::{Loss, LossKind, floored, is_dispersed, not_negative, with_loss};
use crate::real::Real;
use crate::stats::WStats;
use crate::width::{Dynamic, Width};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// What the W step does besides the ratio.
#[derive(Clone, Copy, Debug)]
pub struct WControl {
    pub loss: LossKind,
    /// Padded number of factors.
    pub factors: usize,
    /// Factors that move; those after them stay.
    pub free: usize,
    /// Steps from the same records, where these allow more than one.
    pub steps: usize,
    /// Whether several steps are passes of coordinate descent. Not from records of few cells, whose noise they
    /// would follow as far as it goes.
    pub descend: bool,
    /// Whether entries that do not count may be taken to be what they are fitted by (as in EM), which majorises the divergence of the
    /// others by the quadratic of all: passes of coordinate descent need one curvature for all features. Not where entries are held out, as models are compared
    /// by these after few sweeps.
    pub imputes: bool,
    /// Signed background weight.
    pub weight: f64,
    pub l1: f64,
    pub l2: f64,
    pub guard: f64,
    /// As [`Control::slack`](crate::loss::Control::slack).
    pub slack: f64,
    /// Positive loadings do not fall below this.
    pub floor: f64,
    /// Loadings do not grow beyond this.
    pub ceiling: f64,
}

impl WControl {
    /// Whether the steps of features that are seen whole are passes of coordinate descent.
    pub fn descends(&self) -> bool {
        with_loss!(self.loss, loss => loss.lasting()) && self.steps > 1 && self.descend
    }
}

/// Features of one parallel task.
const ROWS: usize = 128;

/// Writes the new loadings into `w_next`.
///
/// A background that is explained (`weight ≥ 0`) adds its numerator to the numerator and its
/// denominator to the denominator; one that is contrasted adds each to the other. Each step is downhill
/// for the H that the records are of. `sizes` are those of the features in each set, where they have any.
pub(crate) fn w_step<T: Real>(
    w: &[T],
    w_next: &mut [T],
    records: [&[&WStats<T>]; 2],
    sizes: [&[T]; 2],
    control: WControl,
) {
    let factors = control.factors;
    let owns = records.iter().any(|r| r.iter().any(|r| !r.own.is_empty()));
    let lasting = with_loss!(control.loss, loss => loss.lasting());
    let denominators = records.map(|records| sum_of(records, |record| &record.denominator));
    let masked = records.map(|records| sum_of(records, |record| &record.masked));
    let convex = (control.descends()).then(|| convex_part(&denominators, control.weight));
    w_next
        .par_chunks_mut(ROWS * factors)
        .enumerate()
        .for_each(|(chunk, w_next)| {
            let mut row = vec![0.0; factors];
            let room = || [vec![0.0; factors], vec![0.0; factors]];
            let (mut sums, mut held) = ([room(), room()], room());
            let mut few = convex
                .as_ref()
                .map(|convex| Few::new([convex, &denominators[1]], owns, control));
            for i in 0..w_next.len() / factors {
                let at = (chunk * ROWS + i) * factors;
                let old = &w[at..at + factors];
                row.iter_mut()
                    .zip(old)
                    .for_each(|(wide, w)| *wide = w.wide());
                for (records, [p, _]) in records.iter().zip(&mut sums) {
                    p.fill(0.0);
                    for record in *records {
                        let part = &record.numerator[at..at + factors];
                        p.iter_mut()
                            .zip(part)
                            .for_each(|(sum, part)| *sum += part.wide());
                    }
                }
                let mut whole = !owns;
                if owns {
                    for ((held, records), masked) in held.iter_mut().zip(records).zip(&masked) {
                        held_part(records, masked, at, &row, control.loss, held);
                    }
                    whole = lasting
                        && control.imputes
                        && (!control.descend || few_held(&row, &held, &denominators, control));
                    if whole {
                        for ([p, _], held) in sums.iter_mut().zip(&held) {
                            p.iter_mut().zip(held).for_each(|(p, held)| *p += held);
                        }
                    }
                }
                if let Some(few) = few.as_mut().filter(|_| whole) {
                    few.take(i, &row, &sums);
                    if few.features.len() == GROUP {
                        few.descend(w_next);
                    }
                    continue;
                }
                for _ in 0..if lasting && whole { control.steps } else { 1 } {
                    let sets = denominators.iter().zip(records).zip(sizes);
                    let parts = sets.zip(&held).zip(&mut sums);
                    for ((((denominator, records), sizes), held), [p, q]) in parts {
                        if is_dispersed(sizes, at / factors) {
                            own_part(records, at, q);
                            continue;
                        }
                        if !denominator.is_empty() {
                            with_loss!(control.loss, loss => loss.denominator(denominator, &row, q));
                        }
                        if !whole {
                            take_off(q, held);
                            add_slack([p, q], held, control.slack);
                        }
                    }
                    update_row(&mut row, &sums, control);
                }
                w_next[i * factors..][..factors]
                    .iter_mut()
                    .zip(&row)
                    .for_each(|(out, &w)| *out = T::of(w));
            }
            if let Some(mut few) = few {
                few.descend(w_next);
            }
        });
}

/// The sum over records of a part that all features share.
fn sum_of<T>(records: &[&WStats<T>], part: impl Fn(&WStats<T>) -> &[f64]) -> Vec<f64> {
    let mut sum = records
        .first()
        .map_or(Vec::new(), |record| vec![0.0; part(record).len()]);
    for record in records {
        sum.iter_mut()
            .zip(part(record))
            .for_each(|(sum, part)| *sum += part);
    }
    sum
}

/// Whether less than half of what is fitted of a feature, in the cells that W is to describe, is in entries that do not
/// count: with more, the steps of the others alone go further.
fn few_held(
    row: &[f64],
    held: &[Vec<f64>; 2],
    denominators: &[Vec<f64>; 2],
    control: WControl,
) -> bool {
    let (mut all, mut missing) = (0.0, 0.0);
    let mut product = vec![0.0; row.len()];
    let counts = [1.0, control.weight.max(0.0)];
    for ((held, denominator), counts) in held.iter().zip(denominators).zip(counts) {
        if denominator.is_empty() || counts == 0.0 {
            continue;
        }
        with_loss!(control.loss, loss => loss.denominator(denominator, row, &mut product));
        let dot = |v: &[f64]| row.iter().zip(v).map(|(w, v)| w * v).sum::<f64>();
        all += counts * dot(&product);
        missing += counts * dot(held);
    }
    2.0 * missing < all
}

/// The quadratic part of the objective in one feature's loadings that is convex: of the target, and of a background
/// that is explained.
fn convex_part([target, background]: &[Vec<f64>; 2], weight: f64) -> Vec<f64> {
    let mut convex = target.clone();
    if weight > 0.0 {
        convex
            .iter_mut()
            .zip(background)
            .for_each(|(sum, gram)| *sum += weight * gram);
    }
    convex
}

/// Some features whose loadings go down by passes of coordinate descent, side by side.
struct Few<'g> {
    /// The convex part of the curvature, and the background's.
    grams: [&'g [f64]; 2],
    /// Whether entries were imputed.
    imputed: bool,
    control: WControl,
    /// Factors × features: loadings, and what the data pull up and push down.
    rows: Vec<Each<f64>>,
    pull: Vec<Each<f64>>,
    push: Vec<Each<f64>>,
    /// Which features of the task they are.
    features: Vec<usize>,
}

impl<'g> Few<'g> {
    fn new(grams: [&'g [f64]; 2], imputed: bool, control: WControl) -> Self {
        let room = || vec![[0.0; GROUP]; control.factors];
        Few {
            grams,
            imputed,
            control,
            rows: room(),
            pull: room(),
            push: room(),
            features: Vec::with_capacity(GROUP),
        }
    }

    /// Takes a feature with the numerators of target and background.
    fn take(&mut self, feature: usize, row: &[f64], sums: &[[Vec<f64>; 2]; 2]) {
        let (lane, weight) = (self.features.len(), self.control.weight);
        let [[target, _], [background, _]] = sums;
        for (pull, (x, y)) in self.pull.iter_mut().zip(target.iter().zip(background)) {
            pull[lane] = x + weight.max(0.0) * y;
        }
        for (push, y) in self.push.iter_mut().zip(background) {
            push[lane] = (-weight).max(0.0) * y;
        }
        abreast::put(&mut self.rows, lane, row);
        self.features.push(feature);
    }

    /// Writes their new loadings, and has room for others then.
    fn descend<T: Real>(&mut self, w_next: &mut [T]) {
        Arch::new().dispatch(Passes(self));
        let factors = self.control.factors;
        for (lane, feature) in self.features.drain(..).enumerate() {
            abreast::take(
                &mut w_next[feature * factors..][..factors],
                &self.rows,
                lane,
            );
        }
        // Lanes without a feature rest.
        self.rows.fill([0.0; GROUP]);
    }
}

/// The passes. What is concave in the loadings, the part of a background that is contrasted, is replaced by its tangent at the point where
/// a pass starts: each pass goes downhill. Where entries were imputed, at the first point, which is where they were.
struct Passes<'p, 'g>(&'p mut Few<'g>);

impl WithSimd for Passes<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let few = self.0;
        let control = few.control;
        let width = Dynamic(control.factors);
        let [convex, background] = few.grams.map(|gram| width.rows(gram));
        let contrast = (-control.weight).max(0.0);
        let bends = contrast > 0.0 && !few.grams[1].is_empty();
        let descent = Descent {
            penalties: [[control.l1; GROUP], [control.l2; GROUP]],
            guard: control.guard,
            range: [control.floor.max(f64::MIN_POSITIVE), control.ceiling],
            passes: 1,
            tolerance: 0.0,
        };
        let (mut pull, mut tangent) = (few.pull.clone(), width.abreast::<f64>());
        let mut gradient = width.abreast::<f64>();
        for pass in 0..control.steps {
            if bends && (pass == 0 || !few.imputed) {
                pull.copy_from_slice(&few.pull);
                abreast::times(simd, background, &few.rows, &mut tangent);
                abreast::add(&mut pull, contrast, &tangent);
            }
            abreast::times(simd, convex, &few.rows, &mut gradient);
            abreast::add(&mut gradient, -1.0, &pull);
            abreast::add(&mut gradient, 1.0, &few.push);
            // What is zero stays; the gradient knows of it as it is.
            let held = few.rows[control.free..].to_vec();
            few.rows[control.free..].fill([0.0; GROUP]);
            abreast::descend(simd, convex, &mut few.rows, &pull, &mut gradient, descent);
            few.rows[control.free..].copy_from_slice(&held);
        }
    }
}

/// What the records have of the denominator of the feature alone whose loadings start at `at`.
fn own_part<T: Real>(records: &[&WStats<T>], at: usize, out: &mut [f64]) {
    out.fill(0.0);
    for record in records {
        out.iter_mut()
            .zip(&record.own[at..])
            .for_each(|(sum, part)| *sum += part.wide());
    }
}

/// What entries that do not count would add to the denominator of the feature whose loadings start at `at`. `masked` is the sum of
/// [`WStats::masked`].
fn held_part<T: Real>(
    records: &[&WStats<T>],
    masked: &[f64],
    at: usize,
    row: &[f64],
    loss: LossKind,
    out: &mut [f64],
) {
    out.fill(0.0);
    if !masked.is_empty() {
        with_loss!(loss, loss => loss.denominator(masked, row, out));
    }
    for record in records {
        out.iter_mut()
            .zip(&record.own[at..])
            .for_each(|(sum, part)| *sum += part.wide());
    }
    not_negative(out);
}

/// Takes that off.
fn take_off(denominator: &mut [f64], held: &[f64]) {
    denominator
        .iter_mut()
        .zip(held)
        .for_each(|(sum, held)| *sum -= held);
    not_negative(denominator);
}

/// Lets them count a little, as what they are fitted by.
fn add_slack(sums: [&mut Vec<f64>; 2], held: &[f64], slack: f64) {
    for sum in sums {
        sum.iter_mut()
            .zip(held)
            .for_each(|(sum, held)| *sum += slack * held);
    }
}

/// One step of one feature's loadings, from the numerators and denominators of both sets.
fn update_row(row: &mut [f64], sums: &[[Vec<f64>; 2]; 2], control: WControl) {
    let [[px, qx], [py, qy]] = sums;
    let size = control.weight.abs();
    for (k, w) in row.iter_mut().enumerate().take(control.free) {
        let (p, q) = if control.weight >= 0.0 {
            (px[k] + size * py[k], qx[k] + size * qy[k])
        } else {
            (px[k] + size * qy[k], qx[k] + size * py[k])
        };
        let new = with_loss!(control.loss, loss => {
            loss.update(*w, p, q, control.l1, control.l2, control.guard)
        });
        let new = floored(new, *w, p, control.floor);
        let most = control.ceiling.max(*w);
        // `min` would turn NaN into a number.
        *w = if new > most { most } else { new };
    }
}
