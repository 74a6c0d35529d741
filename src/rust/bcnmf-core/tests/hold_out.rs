//! Entries that a fit does not see.

mod common;

use bcnmf_core::fit::{FitParams, HeldOut, Penalty, Record, Scaling, Steps};
use bcnmf_core::matrix::{HoldOut, Missing};
use bcnmf_core::{LossKind, Start};
use common::planted::matches;
use common::scenario::{Data, random, scenarios, start_of};
use common::{cases, distance};
use ndarray::Array2;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};

proptest! {
    #![proptest_config(cases(100))]

    /// Held-out entries may hold anything: the fit is the same to the bit, but for what they lose.
    #[test]
    fn what_is_held_out_is_not_seen(
        scenario in scenarios(), part in 0.05..0.7f64, sweeps in 1..5usize, seed: u64,
    ) {
        let hold_out = HoldOut { seed, part };
        let data = scenario.data();
        let other = {
            let change = |x: &Array2<f64>, background: bool| {
                let mut x = x.clone();
                for (cell, mut column) in x.columns_mut().into_iter().enumerate() {
                    for i in hold_out.features(column.len(), background, cell) {
                        let value = &mut column[i as usize];
                        // What is missing stays so: it is not held out.
                        *value = match *value {
                            x if x > 0.0 => 0.5,
                            0.0 if data.missing != Missing::Zeros => 1.0,
                            same => same,
                        };
                    }
                }
                x
            };
            data.like(change(&data.x, false), data.y.as_ref().map(|y| change(y, true)))
        };
        // Sums over all entries enter where penalties are scaled, and in the ambient profile.
        let params = FitParams {
            maxit: sweeps,
            hold_out: Some(hold_out),
            w_penalty: Penalty::default(),
            h_penalty: Penalty::default(),
            ambient: 0.0,
            scaling: Scaling::Plain { guard: 1e-300 },
            ..scenario.params()
        };
        let start = start_of(&data, scenario.k, seed);
        let a = data.fit::<f64>(scenario.sparse, &params, &start);
        let b = other.fit::<f64>(scenario.sparse, &params, &start);
        prop_assert_eq!(a.factors(), b.factors());
        let bits = |records: &[Record]| -> Vec<_> {
            records.iter().map(|r| (r.target.to_bits(), r.background.to_bits())).collect()
        };
        prop_assert_eq!(bits(a.history()), bits(b.history()));
    }
}

/// Planted programs predict what they were not fitted to; noise fitted with too many factors does not.
#[test]
fn held_out_entries_tell_the_rank() {
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let (w, h) = (random(60, 3, 0.4, 1), random(3, 250, 0.6, 2));
        let mean = 4.0 * w.dot(&h) + 1e-9;
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let x =
            common::fortran(&mean.mapv(|m| Poisson::new(m).expect("positive").sample(&mut rng)));
        let data = Data::new(x, None);
        let lost = |k: usize| -> f64 {
            let one = |seed: u64| {
                let params = FitParams {
                    maxit: 300,
                    tol: 0.0,
                    steps: Steps::fast(loss),
                    hold_out: Some(HoldOut { seed, part: 0.1 }),
                    ..FitParams::new(k, loss)
                };
                let [target, background] = data
                    .fit::<f64>(false, &params, &Start::Seed(1))
                    .held_out()
                    .expect("a hold-out");
                assert!((target.entries as f64 / 15000.0 - 0.1).abs() < 0.02);
                assert_eq!(background, HeldOut::default());
                target.loss
            };
            (1..=5).map(one).sum()
        };
        let loss_of: Vec<f64> = (1..7).map(lost).collect();
        let best = (0..6).min_by(|&a, &b| loss_of[a].total_cmp(&loss_of[b]));
        assert_eq!(best, Some(2), "{loss:?} {loss_of:?}");
    }
}

/// Half of the entries is enough to find planted programs.
#[test]
fn planted_programs_are_found_in_half_of_the_entries() {
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let (w, h) = (random(50, 3, 0.3, 4), random(3, 200, 0.5, 5));
        let data = Data::new(common::fortran(&w.dot(&h)), None);
        let params = FitParams {
            maxit: 2000,
            tol: 0.0,
            steps: Steps::fast(loss),
            hold_out: Some(HoldOut { seed: 2, part: 0.5 }),
            ..FitParams::new(3, loss)
        };
        let fit = data.fit::<f64>(false, &params, &Start::Seed(1));
        let found = matches(&common::flat(&w), &fit.factors().w, 50);
        assert!(found.iter().all(|c| *c >= 0.95), "{loss:?} {found:?}");
    }
}

/// With a part so small that nothing is held out, the sums are those of all entries.
#[test]
fn holding_nothing_out_changes_nothing() {
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let data = Data::new(random(20, 30, 0.5, 1), Some(random(20, 10, 0.5, 2)));
        let all = FitParams {
            weight: 0.5,
            maxit: 20,
            tol: 0.0,
            ..FitParams::new(4, loss)
        };
        let (seed, part) = (1, 1e-12);
        let none = FitParams {
            hold_out: Some(HoldOut { seed, part }),
            ..all.clone()
        };
        let [a, b] = [all, none].map(|p| data.fit::<f64>(true, &p, &Start::Seed(1)).factors());
        assert_eq!(distance(&a.w, &b.w), 0.0);
        assert_eq!(a, b);
    }
}
