//! The kernels, one thread, and the roof above them: what the same accesses cost with next to no arithmetic, and how
//! fast the processor multiplies and adds. `kernels.R` runs this and makes a table.
//!
//! Names are `precision/k/what`; throughput is in stored values. Probes and kernels walk through the same cells.

use bcnmf_core::LossKind;
use bcnmf_core::aligned::Aligned;
use bcnmf_core::group::{GROUP, add_scaled};
use bcnmf_core::loss::{Basis, Before, Control, Few, Loss, mse::Mse, poisson::Poisson};
use bcnmf_core::matrix::Cell;
use bcnmf_core::real::Real;
use bcnmf_core::simulate::Simulation;
use bcnmf_core::stats::WStats;
use bcnmf_core::width::{Fixed, RowsMut, Width, padded};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pulp::{Arch, Simd, WithSimd};
use std::hint::black_box;
use std::time::Duration;

const FEATURES: usize = 3000;
const CELLS: usize = 500;

/// Cells in working precision, a basis and coefficients.
struct Setting<T> {
    p: Vec<usize>,
    index: Vec<u32>,
    value: Vec<T>,
    w: Aligned<T>,
    h: Aligned<T>,
}

impl<T: Real> Setting<T> {
    fn new(k: usize) -> Self {
        let counts = Simulation {
            features: FEATURES,
            target: CELLS,
            background: 1,
            k_shared: 8,
            k_target: 2,
            share: 0.1,
            depth: 300.0,
            depth_sd: 0.3,
            loading_shape: 0.1,
            use_shape: 0.3,
            seed: 1,
        }
        .run()
        .expect("valid")
        .target;
        let factors = padded::<T>(k);
        // Any positive numbers do: the work does not depend on them.
        let filled = |items: usize, scale: f64| {
            let value = |at: usize| match at % factors {
                f if f < k => T::of(scale * (1.0 + (at * 7919 % 101) as f64)),
                _ => T::zero(),
            };
            (0..items * factors).map(value).collect()
        };
        Setting {
            p: counts.p.iter().map(|&p| p as usize).collect(),
            index: counts.i.iter().map(|&i| i as u32).collect(),
            value: counts.x.iter().map(|&x| T::of(x)).collect(),
            w: filled(FEATURES, 1e-5),
            h: filled(CELLS, 0.1),
        }
    }

    fn cells(&self) -> impl Iterator<Item = (usize, Cell<'_, T>)> {
        self.p.windows(2).enumerate().map(|(j, range)| {
            let cell = Cell {
                index: &self.index[range[0]..range[1]],
                value: &self.value[range[0]..range[1]],
                masked: &[],
                only_values: false,
                held_at: &[],
                held: &[],
                weight: T::one(),
                ambient: T::zero(),
                log_odds: None,
                zeros: &[],
                squares: None,
            };
            (j, cell)
        })
    }
}

fn basis<'s, T: Real>(setting: &'s Setting<T>, shared: &'s [T]) -> Basis<'s, T> {
    Basis {
        w: &setting.w,
        shared,
        weight: &[],
        guard: T::TINY,
        ambient: &[],
        ambient_sum: T::zero(),
        dispersed: Default::default(),
    }
}

/// What is done with every cell.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// Probe: every value's row of W is added up.
    ReadRows,
    /// Probe: a multiple of h is added to every value's row of a record.
    AddToRows,
    /// One H step with the divergence.
    HStep(LossKind),
    /// The record for W.
    Record(LossKind),
}

struct Run<'r, T, const K: usize> {
    setting: &'r Setting<T>,
    task: Task,
    shared: &'r [T],
    stats: &'r mut WStats<T>,
}

impl<T: Real, const K: usize> WithSimd for Run<'_, T, K> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        match self.task {
            Task::ReadRows => self.read_rows(simd),
            Task::AddToRows => self.add_to_rows(simd),
            Task::HStep(LossKind::Mse) => self.h_step(simd, Mse),
            Task::HStep(LossKind::Poisson) => self.h_step(simd, Poisson),
            Task::Record(LossKind::Mse) => self.record(simd, Mse),
            Task::Record(LossKind::Poisson) => self.record(simd, Poisson),
            Task::HStep(_) | Task::Record(_) => {
                unreachable!("most of it is in tiles of cells: see bench/sweep.R")
            }
        }
    }
}

impl<T: Real, const K: usize> Run<'_, T, K> {
    #[inline(always)]
    fn read_rows<S: Simd>(self, simd: S) -> f64 {
        // As many sums side by side as there are registers for.
        match K * size_of::<T>() {
            0..=96 => self.read_rows_into::<S, 4>(simd),
            97..=192 => self.read_rows_into::<S, 2>(simd),
            _ => self.read_rows_into::<S, 1>(simd),
        }
    }

    #[inline(always)]
    fn read_rows_into<S: Simd, const SUMS: usize>(self, simd: S) -> f64 {
        let width = Fixed::<K>;
        let rows: &[[T; K]] = width.rows(&self.setting.w);
        let mut sums = [[T::zero(); K]; SUMS];
        for (_, cell) in self.setting.cells() {
            let (index, value) = (
                cell.index.as_chunks::<SUMS>().0,
                cell.value.as_chunks::<SUMS>().0,
            );
            for (index, value) in index.iter().zip(value) {
                for ((sum, &i), &x) in sums.iter_mut().zip(index).zip(value) {
                    add_scaled(simd, sum, x, &rows[i as usize]);
                }
            }
        }
        sums.iter().flatten().map(|s| s.wide()).sum()
    }

    #[inline(always)]
    fn add_to_rows<S: Simd>(self, simd: S) -> f64 {
        let width = Fixed::<K>;
        let mut rows = width.rows_mut(&mut self.stats.numerator);
        for (j, cell) in self.setting.cells() {
            let mut h = [T::zero(); K];
            h.copy_from_slice(width.row(&self.setting.h, j));
            for (&i, &x) in cell.index.iter().zip(cell.value) {
                add_scaled(simd, rows.row_mut(i as usize), x, &h);
            }
        }
        0.0
    }

    #[inline(always)]
    fn h_step<S: Simd, L: Loss>(self, simd: S, loss: L) -> f64 {
        let width = Fixed::<K>;
        let control = Control {
            steps: 1,
            tolerance: T::zero(),
            guard: T::TINY,
            floor: T::FLOOR,
            slack: T::zero(),
            l1: T::zero(),
            l2: T::zero(),
            measures: true,
        };
        let basis = basis(self.setting, self.shared);
        let mut divergence = 0.0;
        if L::ABREAST {
            let cells: Vec<Cell<'_, T>> = self.setting.cells().map(|(_, cell)| cell).collect();
            let mut next = vec![T::zero(); GROUP * K];
            for (at, cells) in cells.chunks(GROUP).enumerate() {
                let mut few = Few {
                    cells,
                    controls: &[control; GROUP],
                    h: &self.setting.h[at * GROUP * K..][..cells.len() * K],
                    h_next: &mut next[..cells.len() * K],
                    before: [Before::default(); GROUP],
                };
                loss.h_steps(simd, width, basis, &mut few);
                divergence += few.before.iter().map(|b| b.divergence).sum::<f64>();
                black_box(&next);
            }
            return divergence;
        }
        for (j, cell) in self.setting.cells() {
            let mut h = [T::zero(); K];
            h.copy_from_slice(width.row(&self.setting.h, j));
            divergence += loss
                .h_step(simd, width, basis, cell, &mut h, &control)
                .divergence;
            black_box(&h);
        }
        divergence
    }

    #[inline(always)]
    fn record<S: Simd, L: Loss>(self, simd: S, loss: L) -> f64 {
        let width = Fixed::<K>;
        let basis = basis(self.setting, self.shared);
        if L::ABREAST {
            let cells: Vec<Cell<'_, T>> = self.setting.cells().map(|(_, cell)| cell).collect();
            let rows = self.setting.h.chunks(GROUP * K);
            for (cells, h) in cells.chunks(GROUP).zip(rows) {
                loss.record(simd, width, basis, cells, h, self.stats);
            }
            return 0.0;
        }
        for (j, cell) in self.setting.cells() {
            let mut h = [T::zero(); K];
            h.copy_from_slice(width.row(&self.setting.h, j));
            loss.w_stats(simd, width, basis, cell, &h, self.stats);
        }
        0.0
    }
}

fn bench_width<T: Real, const K: usize>(criterion: &mut Criterion, precision: &str, k: usize) {
    assert_eq!(padded::<T>(k), K);
    let setting = Setting::<T>::new(k);
    let mut group = criterion.benchmark_group(format!("{precision}/{k}"));
    group.throughput(Throughput::Elements(setting.index.len() as u64));
    for (name, task) in [
        ("read rows", Task::ReadRows),
        ("add to rows", Task::AddToRows),
        ("H step, poisson", Task::HStep(LossKind::Poisson)),
        ("record, poisson", Task::Record(LossKind::Poisson)),
        ("H step, mse", Task::HStep(LossKind::Mse)),
        ("record, mse", Task::Record(LossKind::Mse)),
    ] {
        let (loss, shared) = match task {
            Task::HStep(LossKind::Mse) | Task::Record(LossKind::Mse) => {
                (LossKind::Mse, Mse.shared(&setting.w, &[], K))
            }
            _ => (LossKind::Poisson, Poisson.shared(&setting.w, &[], K)),
        };
        let mut stats = WStats::new(loss, [FEATURES, 0], K, false);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (setting, shared, stats) = (&setting, &shared[..], &mut stats);
                let run = Run::<T, K> {
                    setting,
                    task,
                    shared,
                    stats,
                };
                black_box(Arch::new().dispatch(run))
            });
        });
    }
    group.finish();
}

/// Multiplications and additions in registers, on twelve sums that do not wait for each other.
struct Fma<T>(T);

/// Rounds of twelve registers.
const ROUNDS: usize = 10_000;

impl<T: Real> WithSimd for Fma<T> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> T {
        let factor = T::splat(simd, self.0);
        let mut sums = [T::splat(simd, T::one()); 12];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = T::multiply_add(simd, *sum, factor, factor);
            }
        }
        let mut total = T::zero();
        for sum in sums {
            total += T::sum_register(simd, sum);
        }
        total
    }
}

fn bench_fma(criterion: &mut Criterion) {
    let register = if cfg!(target_arch = "x86_64") { 32 } else { 16 };
    let lanes = |bytes: usize| register / bytes;
    let mut group = criterion.benchmark_group("roof");
    // Elements are multiplications with an addition.
    group.throughput(Throughput::Elements((12 * ROUNDS * lanes(4)) as u64));
    group.bench_function("fma f32", |bencher| {
        bencher.iter(|| Arch::new().dispatch(Fma(black_box(0.5f32))));
    });
    group.throughput(Throughput::Elements((12 * ROUNDS * lanes(8)) as u64));
    group.bench_function("fma f64", |bencher| {
        bencher.iter(|| Arch::new().dispatch(Fma(black_box(0.5f64))));
    });
    group.finish();
}

fn all(criterion: &mut Criterion) {
    bench_fma(criterion);
    bench_width::<f32, 8>(criterion, "single", 5);
    bench_width::<f32, 24>(criterion, "single", 20);
    bench_width::<f32, 64>(criterion, "single", 64);
    bench_width::<f64, 20>(criterion, "double", 20);
}

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = all
}
criterion_main!(kernels);
