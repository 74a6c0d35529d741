//! The plain path follows recorded trajectories of the published algorithm.
//!
//! The recordings are not part of the repository: the tests look in `BCNMF_GOLDEN`, then beside the
//! repository, and say so when they find nothing.

mod common;

use bcnmf_core::fit::{Factors, FitParams, Scaling};
use bcnmf_core::real::Real;
use bcnmf_core::{LossKind, Start};
use common::{Sparse, dense, factors, fortran, matrix, run};
use ndarray::{Array2, Axis, concatenate};
use std::path::{Path, PathBuf};

struct Case {
    name: &'static str,
    loss: LossKind,
    alpha: f64,
    sweeps: &'static [usize],
}

const fn case(name: &'static str, loss: LossKind, alpha: f64) -> Case {
    Case {
        name,
        loss,
        alpha,
        sweeps: &[1, 2, 10, 50],
    }
}

const CASES: [Case; 9] = [
    case("1_sse_dense_a1", LossKind::Mse, 1.0),
    case("2_sse_dense_a3", LossKind::Mse, 3.0),
    case("3_poisson_sparse_a1", LossKind::Poisson, 1.0),
    case("4_poisson_sparse_a03", LossKind::Poisson, 0.3),
    case("5a_nmf_sse_dense", LossKind::Mse, 0.0),
    case("5b_nmf_poisson_sparse", LossKind::Poisson, 0.0),
    case("8_poisson_edge_zero_rows_cols_a05", LossKind::Poisson, 0.5),
    case("9_sse_edge_zero_rows_cols_a05", LossKind::Mse, 0.5),
    Case {
        name: "10_mice_protein_sse_a3",
        loss: LossKind::Mse,
        alpha: 3.0,
        sweeps: &[1, 2, 10, 50, 100],
    },
];

fn golden() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/golden");
    let given = std::env::var_os("BCNMF_GOLDEN").map(PathBuf::from);
    given
        .into_iter()
        .chain([beside])
        .find(|folder| folder.is_dir())
}

fn read(path: &Path) -> Option<Array2<f64>> {
    let text = std::fs::read_to_string(path).ok()?;
    let rows: Vec<Vec<f64>> = text
        .lines()
        .map(|line| {
            line.split(',')
                .map(|v| v.parse().expect("a number"))
                .collect()
        })
        .collect();
    let shape = (rows.len(), rows[0].len());
    Some(fortran(
        &Array2::from_shape_vec(shape, rows.concat()).expect("rectangular"),
    ))
}

/// Largest error relative to the largest entry, and relative error of entries above 1e-6 of it.
fn errors(got: &[f64], want: &Array2<f64>) -> (f64, f64) {
    let got = matrix(got, want.nrows());
    let most = want.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    got.iter()
        .zip(want)
        .fold((0.0, 0.0), |(norm, entry), (g, w)| {
            let error = (g - w).abs();
            let relative = if w.abs() > 1e-6 * most {
                error / w.abs()
            } else {
                0.0
            };
            (f64::max(norm, error / most), f64::max(entry, relative))
        })
}

fn follow<T: Real>(folder: &Path, case: &Case, sparse: bool, tolerance: f64) {
    let file = |name: &str| read(&folder.join(case.name).join(format!("{name}.csv")));
    let need = |name: &str| file(name).unwrap_or_else(|| panic!("{}: no {name}", case.name));
    let (x, y) = (need("X"), file("Y"));
    let start = factors(&need("W0"), &need("HX0"), file("HY0").as_ref());
    let slots = [
        Some(Sparse::from_dense(&x)),
        y.as_ref().map(Sparse::from_dense),
    ];
    for &sweeps in case.sweeps {
        let guard = if case.loss == LossKind::Mse {
            1e-10
        } else {
            1e-16
        };
        let params = FitParams {
            weight: -case.alpha,
            maxit: sweeps,
            tol: 0.0,
            scaling: Scaling::Plain { guard },
            ..FitParams::new(start.w.len() / x.nrows(), case.loss)
        };
        let (target, background) = if sparse {
            (
                slots[0].as_ref().expect("target").view(),
                slots[1].as_ref().map(Sparse::view),
            )
        } else {
            (dense(&x), y.as_ref().map(dense))
        };
        let fit = run::<T>(target, background, &params, &Start::Factors(start.clone()));
        let Factors { w, h, h_background } = fit.factors();
        for (name, got) in [("W", w), ("HX", h), ("HY", h_background)] {
            if got.is_empty() {
                continue;
            }
            let (norm, entry) = errors(&got, &need(&format!("{name}_{sweeps}")));
            assert!(
                norm <= tolerance && entry <= tolerance,
                "{} {name} after {sweeps} sweeps: {norm:e} of the largest, {entry:e} of an entry",
                case.name
            );
        }
    }
}

#[test]
fn follows_the_published_algorithm_in_double_precision() {
    let Some(folder) = golden() else {
        println!("skipped: no golden trajectories (set BCNMF_GOLDEN)");
        return;
    };
    for case in &CASES {
        for sparse in [false, true] {
            follow::<f64>(&folder, case, sparse, 1e-9);
        }
    }
}

#[test]
fn follows_the_published_algorithm_in_single_precision() {
    let Some(folder) = golden() else {
        println!("skipped: no golden trajectories (set BCNMF_GOLDEN)");
        return;
    };
    for case in &CASES {
        for sparse in [false, true] {
            follow::<f32>(&folder, case, sparse, 2e-4);
        }
    }
}

/// Two modalities with the same cells, a W each and one H, are one matrix with the features of both.
#[test]
fn stacked_modalities_follow_the_published_two_modality_algorithm() {
    let Some(folder) = golden() else {
        println!("skipped: no golden trajectories (set BCNMF_GOLDEN)");
        return;
    };
    let need = |name: &str| {
        let path = folder.join("7_sse_multi_a1").join(format!("{name}.csv"));
        read(&path).unwrap_or_else(|| panic!("no {}", path.display()))
    };
    let stack = |first: &str, second: &str| {
        let (a, b) = (need(first), need(second));
        let both = concatenate(Axis(0), &[a.view(), b.view()]).expect("the same cells");
        fortran(&both)
    };
    let (x, y) = (stack("X1", "X2"), stack("Y1", "Y2"));
    let start = factors(&stack("W1_0", "W2_0"), &need("HX0"), Some(&need("HY0")));
    for sweeps in [1, 2, 10, 50] {
        let params = FitParams {
            weight: -1.0,
            maxit: sweeps,
            tol: 0.0,
            scaling: Scaling::Plain { guard: 1e-10 },
            ..FitParams::new(4, LossKind::Mse)
        };
        let start = Start::Factors(start.clone());
        let fit = run::<f64>(dense(&x), Some(dense(&y)), &params, &start);
        let Factors { w, h, h_background } = fit.factors();
        let want = stack(&format!("W1_{sweeps}"), &format!("W2_{sweeps}"));
        for (got, want) in [
            (w, want),
            (h, need(&format!("HX_{sweeps}"))),
            (h_background, need(&format!("HY_{sweeps}"))),
        ] {
            let (norm, entry) = errors(&got, &want);
            assert!(
                norm <= 1e-8 && entry <= 1e-8,
                "{sweeps}: {norm:e} {entry:e}"
            );
        }
    }
}
