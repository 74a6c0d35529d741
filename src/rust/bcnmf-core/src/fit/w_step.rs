//! The W step: from summed records to new loadings, the same for every loss and weight.

use crate::loss::{Loss, LossKind, above_rounding, floored, is_dispersed, not_negative, with_loss};
use crate::real::Real;
use crate::stats::WStats;
use rayon::prelude::*;

/// What the W step does besides the ratio.
#[derive(Clone, Copy, Debug)]
pub struct WControl {
    pub loss: LossKind,
    /// Padded number of factors.
    pub factors: usize,
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
            for (i, out) in w_next.chunks_exact_mut(factors).enumerate() {
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
                if let Some(convex) = convex.as_ref().filter(|_| whole) {
                    descend(&mut row, &mut sums, [convex, &denominators[1]], owns, control);
                } else {
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
                }
                out.iter_mut()
                    .zip(&row)
                    .for_each(|(out, &w)| *out = T::of(w));
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

/// Passes of coordinate descent over one feature's loadings. What is concave in them, the part of a background that
/// is contrasted, is replaced by its tangent at the point where a pass starts: each pass goes downhill. Where entries were `imputed`, at the
/// first point, which is where they were.
fn descend(
    row: &mut [f64],
    [[px, pull], [py, tangent]]: &mut [[Vec<f64>; 2]; 2],
    [convex, background]: [&[f64]; 2],
    imputed: bool,
    control: WControl,
) {
    let WControl {
        weight,
        l1,
        l2,
        guard,
        ..
    } = control;
    let contrast = (-weight).max(0.0);
    let range = [control.floor.max(f64::MIN_POSITIVE), control.ceiling];
    px.iter_mut()
        .zip(&*py)
        .for_each(|(p, y)| *p += weight.max(0.0) * y);
    py.iter_mut().for_each(|y| *y *= contrast);
    for pass in 0..control.steps {
        pull.copy_from_slice(px);
        if contrast > 0.0 && !background.is_empty() {
            if pass == 0 || !imputed {
                with_loss!(control.loss, loss => loss.denominator(background, row, tangent));
            }
            pull.iter_mut()
                .zip(&*tangent)
                .for_each(|(p, t)| *p += contrast * t);
        }
        descend_row(row, convex, [pull, py], [l1, l2], guard, range);
    }
}

/// One pass: each loading is set to its best value given the others. `gram` is the curvature, and the data pull up
/// and push down.
fn descend_row(
    row: &mut [f64],
    gram: &[f64],
    [pull, push]: [&[f64]; 2],
    [l1, l2]: [f64; 2],
    guard: f64,
    [floor, ceiling]: [f64; 2],
) {
    for k in 0..row.len() {
        let (old, gram) = (row[k], &gram[k * row.len()..][..row.len()]);
        if old > 0.0 {
            let product: f64 = gram.iter().zip(row.iter()).map(|(g, w)| g * w).sum();
            let gradient = product - pull[k] + push[k] + l1 + l2 * old;
            let best = old - gradient / (gram[k].max(0.0) + l2 + guard);
            let new = floored(above_rounding(best, old), old, pull[k], floor);
            let most = ceiling.max(old);
            row[k] = if new > most { most } else { new };
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
    for (k, w) in row.iter_mut().enumerate() {
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
