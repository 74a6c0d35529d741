//! The W step: from summed records to new loadings, the same for every loss and weight.

use crate::loss::{Loss, LossKind, above_rounding, floored, is_dispersed, not_negative, with_loss};
use crate::real::Real;
use crate::stats::WStats;
use rayon::prelude::*;

/// What the W step does besides the ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WControl {
    pub loss: LossKind,
    /// Padded number of factors.
    pub factors: usize,
    /// Steps from the same records, where these allow more than one.
    pub steps: usize,
    /// Whether several steps are passes of coordinate descent. Not from records of few cells, whose noise they
    /// would follow as far as it goes.
    pub descend: bool,
    /// Signed background weight.
    pub weight: f64,
    pub l1: f64,
    pub l2: f64,
    pub guard: f64,
    /// Positive loadings do not fall below this.
    pub floor: f64,
    /// Loadings do not grow beyond this.
    pub ceiling: f64,
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
    let steps = if lasting && !owns { control.steps } else { 1 };
    let denominators = records.map(|records| {
        let mut sum = records
            .first()
            .map_or(Vec::new(), |r| vec![0.0; r.denominator.len()]);
        for record in records {
            sum.iter_mut()
                .zip(&record.denominator)
                .for_each(|(sum, d)| *sum += d);
        }
        sum
    });
    let convex = (steps > 1 && control.descend).then(|| convex_part(&denominators, control.weight));
    w_next
        .par_chunks_mut(ROWS * factors)
        .enumerate()
        .for_each(|(chunk, w_next)| {
            let mut row = vec![0.0; factors];
            let mut sums = [
                [vec![0.0; factors], vec![0.0; factors]],
                [vec![0.0; factors], vec![0.0; factors]],
            ];
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
                if let Some(convex) = &convex {
                    descend(&mut row, &mut sums, [convex, &denominators[1]], control);
                } else {
                    for _ in 0..steps {
                        let sets = denominators.iter().zip(records).zip(sizes);
                        for (((denominator, records), sizes), [_, q]) in sets.zip(&mut sums) {
                            if is_dispersed(sizes, at / factors) {
                                own_part(records, at, q);
                                continue;
                            }
                            if !denominator.is_empty() {
                                with_loss!(control.loss, loss => loss.denominator(denominator, &row, q));
                            }
                            if owns {
                                take_off(q, records, at);
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
/// is contrasted, is replaced by its tangent at the point where a pass starts: each pass goes downhill.
fn descend(
    row: &mut [f64],
    [[px, pull], [py, tangent]]: &mut [[Vec<f64>; 2]; 2],
    [convex, background]: [&[f64]; 2],
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
    for _ in 0..control.steps {
        pull.copy_from_slice(px);
        if contrast > 0.0 && !background.is_empty() {
            with_loss!(control.loss, loss => loss.denominator(background, row, tangent));
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

/// Takes what entries that do not count would add off the denominator of the feature whose loadings start at `at`.
fn take_off<T: Real>(denominator: &mut [f64], records: &[&WStats<T>], at: usize) {
    for record in records {
        denominator
            .iter_mut()
            .zip(&record.own[at..])
            .for_each(|(sum, part)| *sum -= part.wide());
    }
    not_negative(denominator);
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

/// Multiplies factor `k` of every item by `scale[k]`.
pub(crate) fn scale_factors<T: Real>(items: &mut [T], scale: &[f64]) {
    let scale: Vec<T> = scale.iter().map(|&s| T::of(s)).collect();
    items.par_chunks_mut(1024 * scale.len()).for_each(|chunk| {
        for item in chunk.chunks_exact_mut(scale.len()) {
            item.iter_mut()
                .zip(&scale)
                .for_each(|(value, &s)| *value *= s);
        }
    });
}
