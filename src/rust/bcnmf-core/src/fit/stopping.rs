//! When a fit has converged.

use crate::real::Real;

/// Correlation distance `1 − r` between two states of W, as RcppML's `tol` measures it.
///
/// Computed as half the squared distance of the standardised vectors, so that it is exact near 0.
/// With two or fewer entries, or without variance, correlation says nothing (two points always lie
/// on a line): cosine distance then.
pub fn correlation_distance<T: Real>(a: &[T], b: &[T], entries: usize) -> f64 {
    let mean = |v: &[T]| v.iter().map(|x| x.wide()).sum::<f64>() / entries as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    centred_distance(a, b, mean_a, mean_b, entries)
        .or_else(|| centred_distance(a, b, 0.0, 0.0, entries))
        .unwrap_or(0.0)
}

fn centred_distance<T: Real>(a: &[T], b: &[T], ma: f64, mb: f64, entries: usize) -> Option<f64> {
    let centred = ma != 0.0 || mb != 0.0;
    if centred && entries <= 2 {
        return None;
    }
    // Padding is zero; it belongs to no entry and must not be centred.
    let padding = (a.len() - entries) as f64;
    let square =
        |v: &[T], m: f64| v.iter().map(|x| (x.wide() - m).powi(2)).sum::<f64>() - padding * m * m;
    let (na, nb) = (square(a, ma).sqrt(), square(b, mb).sqrt());
    let enough = |norm: f64, m: f64| norm > 1e-12 * m.abs() * (entries as f64).sqrt() && norm > 0.0;
    if !enough(na, ma) || !enough(nb, mb) {
        return None;
    }
    let distance: f64 = a
        .iter()
        .zip(b)
        .map(|(x, y)| ((x.wide() - ma) / na - (y.wide() - mb) / nb).powi(2))
        .sum();
    Some(0.5 * (distance - padding * (ma / na - mb / nb).powi(2)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_pearson() {
        let a = [1.0, 2.0, 4.0, 8.0, 0.0, 0.0];
        let b = [2.0, 1.0, 5.0, 7.0, 0.0, 0.0];
        let (ma, mb) = (15.0 / 4.0, 15.0 / 4.0);
        let s = |u: &[f64], v: &[f64], mu: f64, mv: f64| -> f64 {
            u.iter()
                .zip(v)
                .take(4)
                .map(|(x, y)| (x - mu) * (y - mv))
                .sum()
        };
        let r = s(&a, &b, ma, mb) / (s(&a, &a, ma, ma) * s(&b, &b, mb, mb)).sqrt();
        assert!((correlation_distance(&a, &b, 4) - (1.0 - r)).abs() < 1e-14);
    }

    #[test]
    fn two_entries_and_constants_do_not_count_as_converged() {
        assert!(correlation_distance(&[0.9, 0.1], &[0.6, 0.4], 2) > 1e-2);
        assert!(correlation_distance(&[1.0, 1.0, 1.0], &[0.8, 1.0, 1.2], 3) > 1e-3);
        assert_eq!(correlation_distance(&[1.0], &[1.0], 1), 0.0);
        assert_eq!(correlation_distance(&[0.0; 4], &[0.0; 4], 4), 0.0);
    }
}
