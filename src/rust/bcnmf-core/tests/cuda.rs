//! Fits on a GPU against those on the CPU. Without a GPU the tests skip; `tests/emulator` has a driver that runs the kernels on the CPU.
//!
//! This binary alone can be carried to a machine with a GPU. There, or with the emulator, `BCNMF_NEED_GPU=1` turns skips into failures.

mod common;

use bcnmf_core::backend::cuda::{Gpu, devices};
use bcnmf_core::fit::{Factors, FitParams, FullBatch, Problem, Steps};
use bcnmf_core::matrix::{HoldOut, Missing};
use bcnmf_core::{LossKind, Start};
use common::counted::{fixed, some_sizes};
use common::planted::{FEATURES, dense_counts, planted_in};
use common::scenario::{Data, Scenario, random, scenarios, start_of};
use common::{cases, distance, factor_distance, finish};
use proptest::prelude::*;
use std::sync::Arc;

/// The first GPU, or nothing and a message.
fn gpu() -> Option<Arc<Gpu>> {
    match Gpu::open(0) {
        Ok(gpu) => Some(gpu),
        Err(why) => {
            let needed = std::env::var("BCNMF_NEED_GPU").is_ok_and(|needed| !needed.is_empty());
            assert!(!needed, "{why}");
            eprintln!("SKIPPED: {why}");
            None
        }
    }
}

fn on_gpu<'a>(
    gpu: &Arc<Gpu>,
    data: &'a Data,
    sparse: bool,
    params: &FitParams,
    start: &Start,
) -> FullBatch<'a, f32> {
    let problem = data.problem(sparse);
    let problem = problem.on_device(gpu.clone(), params, None).expect("room");
    let fit = finish(problem, params, start);
    assert_eq!(fit.mishap(), None);
    fit
}

/// So many sweeps of a scenario in double precision, and in single precision on the CPU and on the GPU.
fn fits<'a>(
    gpu: &Arc<Gpu>,
    scenario: &Scenario,
    data: &'a Data,
    sweeps: usize,
) -> (FullBatch<'a, f64>, FullBatch<'a, f32>, FullBatch<'a, f32>) {
    let start = start_of(data, scenario.k, scenario.seed);
    let params = FitParams {
        maxit: sweeps,
        ..scenario.params()
    };
    (
        data.fit(scenario.sparse, &params, &start),
        data.fit(scenario.sparse, &params, &start),
        on_gpu(gpu, data, scenario.sparse, &params, &start),
    )
}

/// A scenario of what the GPU can do.
fn supported(scenario: Scenario) -> Scenario {
    // Beside what is held it takes single steps.
    let single = scenario.steps.w == 1;
    Scenario {
        hold: if single { scenario.hold } else { 0 },
        missing: (Missing::None, 0.0),
        hold_out: None,
        mixed: false,
        ..scenario
    }
}

fn objectives<T: bcnmf_core::real::Real>(fit: &FullBatch<'_, T>) -> Vec<f64> {
    let sums = fit.history().iter().map(|r| [r.objective, r.target]);
    sums.flatten().collect()
}

/// The largest difference relative to the largest number.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let scale = a
        .iter()
        .fold(f64::MIN_POSITIVE, |most, v| most.max(v.abs()));
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs() / scale)
        .fold(0.0, f64::max)
}

/// With the loadings of each factor as large as its part in the cells: those of one that has none are rounding, made large.
fn weighed(factors: Factors, k: usize) -> Factors {
    let rows = factors.w.len() / k;
    let cells = || factors.h.chunks(k).chain(factors.h_background.chunks(k));
    let totals: Vec<f64> = (0..k).map(|f| cells().map(|h| h[f]).sum()).collect();
    let w = factors.w.iter().enumerate();
    Factors {
        w: w.map(|(at, w)| w * totals[at / rows]).collect(),
        ..factors
    }
}

/// Single precision goes another way than double now and then; a GPU no further than the CPU does.
fn assert_near(
    exact: &FullBatch<'_, f64>,
    cpu: &FullBatch<'_, f32>,
    gpu: &FullBatch<'_, f32>,
    k: usize,
) {
    let near = apart(&objectives(exact), &objectives(cpu));
    let far = apart(&objectives(exact), &objectives(gpu));
    assert!(
        far <= 1e-5 + 10.0 * near,
        "objectives {far:e}, on the CPU {near:e}"
    );
    let all = weighed(exact.factors(), k);
    let near = factor_distance(&all, &weighed(cpu.factors(), k));
    let far = factor_distance(&all, &weighed(gpu.factors(), k));
    assert!(
        far <= 1e-4 + 10.0 * near,
        "factors {far:e}, on the CPU {near:e}"
    );
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn same_trajectory(scenario in scenarios().prop_map(supported), sweeps in 1..20usize) {
        let Some(gpu) = gpu() else { return Ok(()) };
        let data = scenario.data();
        let (exact, cpu, gpu) = fits(&gpu, &scenario, &data, sweeps);
        prop_assume!(!exact.failed() && !cpu.failed());
        prop_assert!(!gpu.failed());
        assert_near(&exact, &cpu, &gpu, scenario.k);
        for (exact, (cpu, gpu)) in [
            (exact.sizes(), (cpu.sizes(), gpu.sizes())),
            (exact.dropout(), (cpu.dropout(), gpu.dropout())),
        ] {
            let logs = |sets: Vec<Vec<f64>>| -> Vec<f64> {
                sets.concat().into_iter().map(|v| v.clamp(1e-9, 1e9).ln()).collect()
            };
            let [exact, cpu, gpu] = [exact, cpu, gpu].map(logs);
            let (near, far) = (distance(&exact, &cpu), distance(&exact, &gpu));
            prop_assert!(far <= 1e-4 + 10.0 * near, "sizes {far:e}, on the CPU {near:e}");
        }
    }
}

proptest! {
    #![proptest_config(cases(600))]

    /// From one sweep to the next single precision has no time to go another way.
    #[test]
    fn same_sweep(scenario in scenarios().prop_map(supported)) {
        let Some(gpu) = gpu() else { return Ok(()) };
        let data = scenario.data();
        let (exact, cpu, gpu) = fits(&gpu, &scenario, &data, 1);
        prop_assume!(!exact.failed() && !cpu.failed());
        prop_assert!(!gpu.failed());
        assert_near(&exact, &cpu, &gpu, scenario.k);
    }
}

/// All widths of the kernels, with one to four threads a vector.
#[test]
fn many_factors_and_odd_shapes() {
    let Some(gpu) = gpu() else { return };
    let losses = [LossKind::Mse, LossKind::Poisson, LossKind::Nb];
    for (at, (rows, cells, k)) in [
        (130, 140, 64),
        (135, 129, 100),
        (129, 150, 128),
        (128, 40, 20),
        (1, 300, 1),
        (300, 1, 1),
        (70, 33, 33),
    ]
    .into_iter()
    .enumerate()
    {
        for (turn, loss) in losses.into_iter().enumerate() {
            let density = if (at + turn) % 2 == 0 { 0.15 } else { 0.5 };
            let mut data = counts(rows, cells, density);
            data.x[(0, 0)] = 3.0;
            let data = Data::new(data.x, None);
            let params = FitParams {
                maxit: 2,
                steps: Steps::fast(loss),
                dispersion: fixed(some_sizes(rows.max(2))[..rows].to_vec()),
                ..FitParams::new(k, loss)
            };
            let start = start_of(&data, k, 3);
            let exact = data.fit::<f64>(true, &params, &start);
            let cpu = data.fit::<f32>(true, &params, &start);
            let fit = on_gpu(&gpu, &data, true, &params, &start);
            eprintln!("{rows} x {cells}, k = {k}, {loss:?}");
            assert_near(&exact, &cpu, &fit, k);
        }
    }
}

/// As many cells as a study has; the emulated GPU would take hours.
#[test]
fn many_cells() {
    let Some(gpu) = gpu() else { return };
    let cells = if is_emulated(&gpu) { 3_000 } else { 1_000_000 };
    let data = counts(8, cells, 0.2);
    let params = FitParams {
        maxit: 2,
        ..FitParams::new(3, LossKind::Poisson)
    };
    let exact = data.fit::<f64>(true, &params, &Start::Seed(1));
    let fit = on_gpu(&gpu, &data, true, &params, &Start::Seed(1));
    assert!(apart(&objectives(&exact), &objectives(&fit)) < 1e-5);
    assert!(factor_distance(&exact.factors(), &fit.factors()) < 1e-4);
}

#[test]
fn same_objective_at_the_end() {
    let Some(gpu) = gpu() else { return };
    for loss in [LossKind::Mse, LossKind::Poisson, LossKind::Nb] {
        let planted = planted_in([60, 40], 2, 1, 0.2, 5);
        let [x, y] = [&planted.target, &planted.background].map(|set| dense_counts(set, FEATURES));
        let data = Data::new(x, Some(y));
        let params = FitParams {
            weight: 0.5,
            k_target: 1,
            maxit: 30,
            tol: 1e-9,
            steps: Steps::fast(loss),
            ..FitParams::new(3, loss)
        };
        let cpu = data.fit::<f32>(true, &params, &Start::Seed(1));
        let fit = on_gpu(&gpu, &data, true, &params, &Start::Seed(1));
        let [a, b] = [cpu.history(), fit.history()].map(|h| h[h.len() - 1].objective);
        assert!((a - b).abs() <= 1e-5 * a, "{loss:?}: {a} {b}");
    }
}

#[test]
fn two_runs_give_the_same_bits() {
    let Some(gpu) = gpu() else { return };
    for loss in [
        LossKind::Mse,
        LossKind::Poisson,
        LossKind::Nb,
        LossKind::Zinb,
    ] {
        let [x, y] = [1, 2].map(|seed| random(40, 300, 0.3, seed).mapv(|x| (4.0 * x).ceil()));
        let data = Data::new(x, Some(y));
        let params = FitParams {
            weight: -0.3,
            maxit: 10,
            steps: Steps::fast(loss),
            ..FitParams::new(6, loss)
        };
        let runs = [0, 1].map(|_| on_gpu(&gpu, &data, true, &params, &Start::Seed(1)));
        let [a, b] = runs.each_ref().map(FullBatch::factors);
        assert_eq!((a.w, a.h, a.h_background), (b.w, b.h, b.h_background));
        assert_eq!(objectives(&runs[0]), objectives(&runs[1]));
    }
}

#[test]
fn what_there_is() {
    if gpu().is_none() {
        let why = devices().expect_err("no GPU").to_string();
        assert!(why.starts_with("the GPU cannot be used: "), "{why}");
        return;
    }
    let all = devices().expect("a GPU");
    assert!(all[0].memory > 0 && all[0].capability >= (7, 0) && !all[0].name.is_empty());
    let none = Gpu::open(all.len()).expect_err("not that many").to_string();
    assert!(none.contains("no GPU number"), "{none}");
}

/// Whether the driver is that of `tests/emulator`, which can be told to fail.
fn is_emulated(gpu: &Gpu) -> bool {
    gpu.info().name == "Emulated GPU"
}

/// Counts of two sets, with empty features and cells.
fn counts(rows: usize, cells: usize, density: f64) -> Data {
    let [x, y] = [1, 2].map(|seed| {
        let mut x = random(rows, cells, density, seed).mapv(|x| (4.0 * x).ceil());
        x.row_mut(rows / 2).fill(0.0);
        x.column_mut(cells / 2).fill(0.0);
        x
    });
    Data::new(x, Some(y))
}

/// A problem of which a part has no room on the device, as it may use no more memory than this.
fn in_little_room<'a>(gpu: &Arc<Gpu>, data: &'a Data, params: &FitParams) -> Problem<'a> {
    let problems = (1..).map(|step| {
        let problem = data.problem(true);
        problem.on_device(gpu.clone(), params, Some(step << 16))
    });
    let enough = problems.skip_while(Result::is_err).flatten();
    let streamed = enough.take_while(|problem| format!("{problem:?}").contains("streamed: Some"));
    streamed.last().expect("some room, but not for all")
}

#[test]
fn data_that_have_no_room_come_in_parts() {
    let Some(gpu) = gpu() else { return };
    for (loss, density) in [
        (LossKind::Mse, 0.6),
        (LossKind::Poisson, 0.1),
        (LossKind::Nb, 0.1),
    ] {
        let data = counts(150, 400, density);
        let params = FitParams {
            weight: 0.5,
            maxit: 2,
            ..FitParams::new(4, loss)
        };
        let whole = on_gpu(&gpu, &data, true, &params, &Start::Seed(1));
        let problem = in_little_room(&gpu, &data, &params);
        let parts: FullBatch<'_, f32> = finish(problem, &params, &Start::Seed(1));
        assert_eq!(parts.mishap(), None);
        assert!(apart(&objectives(&whole), &objectives(&parts)) < 1e-5);
        assert!(factor_distance(&whole.factors(), &parts.factors()) < 1e-4);
        let little = data
            .problem(true)
            .on_device(gpu.clone(), &params, Some(1 << 14));
        let why = little.expect_err("no room").to_string();
        assert!(why.contains("the GPU has no room for"), "{why}");
    }
}

#[test]
fn a_fit_is_paused_and_looked_at() {
    let Some(gpu) = gpu() else { return };
    let data = counts(150, 400, 0.1);
    let params = FitParams {
        maxit: 3,
        revive: true,
        ..FitParams::new(5, LossKind::Poisson)
    };
    let mut fits = [0, 1].map(|_| {
        let problem = Arc::new(in_little_room(&gpu, &data, &params));
        FullBatch::<f32>::new(problem, params.clone(), &Start::Seed(2)).expect("valid")
    });
    let now = std::time::Instant::now();
    let mut pauses = 0;
    while !fits[0].advance(now) {
        pauses += 1;
        assert!(fits[0].factors().h.iter().all(|h| h.is_finite()));
    }
    assert!(pauses > 2 * params.maxit, "{pauses}");
    assert!(fits[1].advance(now + std::time::Duration::from_secs(600)));
    let [a, b] = fits.each_ref().map(FullBatch::factors);
    assert_eq!((a.w, a.h, a.h_background), (b.w, b.h, b.h_background));
}

#[test]
fn what_a_gpu_cannot_do_is_said() {
    let Some(gpu) = gpu() else { return };
    let data = counts(200, 300, 0.3);
    let refused = |params: FitParams| {
        let on_device = data.problem(true).on_device(gpu.clone(), &params, None);
        on_device.expect_err("refused").to_string()
    };
    let plain = FitParams::new(3, LossKind::Mse);
    let many = refused(FitParams::new(150, LossKind::Mse));
    assert!(many.contains("at most 128 factors, not 150"), "{many}");
    let held = refused(FitParams {
        hold_out: Some(HoldOut { seed: 1, part: 0.1 }),
        ..plain.clone()
    });
    assert!(held.contains("held-out entries need the CPU"), "{held}");
    let problem = data
        .problem(true)
        .on_device(gpu, &plain, None)
        .expect("room");
    let double = FullBatch::<f64>::new(Arc::new(problem), plain, &Start::Seed(1));
    let why = double.err().expect("refused").to_string();
    assert!(why.contains("single precision"), "{why}");
}

/// Runs one test of this binary again, as a process of its own with these variables.
fn again(test: &str, variables: &[(&str, &str)]) {
    let binary = std::env::current_exe().expect("this one");
    let mut child = std::process::Command::new(binary);
    child
        .args([test, "--exact", "--nocapture"])
        .env("BCNMF_CHILD", "1");
    let ended = child
        .envs(variables.iter().copied())
        .output()
        .expect("a process");
    let said = [ended.stdout, ended.stderr].map(|s| String::from_utf8_lossy(&s).into_owned());
    assert!(ended.status.success(), "{said:?}");
}

fn is_child() -> bool {
    std::env::var_os("BCNMF_CHILD").is_some()
}

#[test]
fn a_device_that_is_lost_costs_nothing_but_time() {
    let Some(gpu) = gpu() else { return };
    if !is_emulated(&gpu) {
        eprintln!("SKIPPED: this GPU cannot be told to fail");
        return;
    }
    if !is_child() {
        // While data are copied, in the first sweep, later, and at the end.
        for launch in ["1", "9", "31", "52"] {
            let name = "a_device_that_is_lost_costs_nothing_but_time";
            again(name, &[("EMULATED_CUDA_FAIL_LAUNCH", launch)]);
        }
        return;
    }
    let data = counts(30, 100, 0.2);
    let params = FitParams {
        maxit: 8,
        ..FitParams::new(4, LossKind::Poisson)
    };
    let Ok(problem) = data.problem(true).on_device(gpu, &params, None) else {
        return;
    };
    let cpu = data.fit::<f32>(true, &params, &Start::Seed(1));
    let gpu: FullBatch<'_, f32> = finish(problem, &params, &Start::Seed(1));
    assert!(gpu.mishap().is_some() && !gpu.failed());
    assert_eq!(gpu.history().len(), cpu.history().len());
    let [a, b] = [gpu.history(), cpu.history()].map(|h| h[h.len() - 1].objective);
    assert!((a - b).abs() < 0.05 * b, "{a} {b}");
}

#[test]
fn no_gpu_and_no_memory_are_told() {
    let Some(gpu) = gpu() else { return };
    if !is_emulated(&gpu) {
        eprintln!("SKIPPED: this GPU cannot be told to be small");
        return;
    }
    if !is_child() {
        again(
            "no_gpu_and_no_memory_are_told",
            &[("EMULATED_CUDA_MEMORY", "300000")],
        );
        again(
            "what_there_is",
            &[("EMULATED_CUDA_DEVICES", "0"), ("BCNMF_NEED_GPU", "")],
        );
        return;
    }
    let data = counts(30, 700, 0.3);
    let params = FitParams::new(4, LossKind::Poisson);
    let why = data
        .problem(true)
        .on_device(gpu, &params, None)
        .expect_err("no room")
        .to_string();
    assert!(why.contains("no room for"), "{why}");
}
