//! What a fit allocates: a few times the factors, never anything of the size of the data.

use bcnmf_core::backend::pool;
use bcnmf_core::fit::{Batches, FitParams, FullBatch, Problem, Update};
use bcnmf_core::matrix::{Csc, HoldOut, Missing};
use bcnmf_core::real::Real;
use bcnmf_core::width::padded;
use bcnmf_core::{LossKind, Matrix, Start};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The system's allocator, which also counts.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

fn took(bytes: usize) {
    PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    LARGEST.fetch_max(bytes, Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged. Growing goes through the default `realloc`, a new
// allocation and a copy.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FEATURES: usize = 500;
const K: usize = 5;

/// Every fifth entry of so many cells, at places that differ from cell to cell.
struct Counts {
    p: Vec<i32>,
    i: Vec<i32>,
    x: Vec<f64>,
    missing: Missing,
}

impl Counts {
    fn new(cells: usize, missing: Missing) -> Self {
        let holes = missing == Missing::Nan;
        let (mut p, mut i, mut x) = (vec![0], vec![], vec![]);
        for cell in 0..cells {
            for feature in (0..FEATURES).filter(|feature| (feature * 7 + cell * 3) % 5 == 0) {
                i.push(feature as i32);
                let missing = holes && (feature + cell) % 9 == 0;
                let value = ((feature + cell) % 4 + 1) as f64;
                x.push(if missing { f64::NAN } else { value });
            }
            p.push(i.len() as i32);
        }
        Counts { p, i, x, missing }
    }

    fn matrix(&self) -> Matrix<'_> {
        let cells = self.p.len() - 1;
        let csc = Csc::new(FEATURES, cells, &self.p, &self.i, &self.x, "counts");
        Matrix::Csc(csc.expect("valid")).with_missing(self.missing)
    }

    fn bytes(&self) -> usize {
        12 * self.x.len()
    }
}

/// Peak above the start and largest single allocation of a fit, all that it does included.
fn fit<T: Real>(sets: &[Counts; 2], mixture: &[LossKind], params: &FitParams) -> [usize; 2] {
    let pool = pool(2).expect("threads");
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    LARGEST.store(0, Relaxed);
    let [x, y] = sets;
    let problem = Problem::new(x.matrix(), Some(y.matrix())).expect("valid");
    let problem = Arc::new(problem.with_mixture(mixture.to_vec()).expect("in order"));
    let start = Start::Seed(1);
    let mut fit = FullBatch::<T>::new(problem, params.clone(), &start).expect("valid");
    assert!(pool.install(|| fit.advance(Instant::now() + Duration::from_secs(600))));
    assert!(!fit.failed() && fit.iteration() == params.maxit);
    [PEAK.load(Relaxed) - before, LARGEST.load(Relaxed)]
}

fn is_small<T: Real>(sets: &[Counts; 2], mixture: &[LossKind], params: &FitParams, what: &str) {
    let cells: usize = sets.iter().map(|set| set.p.len() - 1).sum();
    let stripes: usize = sets.iter().map(|s| s.matrix().stripes().len()).sum();
    let data = sets.iter().map(Counts::bytes).sum::<usize>();
    let item = padded::<T>(K) * size_of::<T>();
    // Coefficients twice; loadings twice and two records of numerators a stripe; sums of each cell and feature; little.
    let dropout = if params.loss == LossKind::Zinb {
        4 * stripes
    } else {
        0
    };
    let bound = dropout * FEATURES * size_of::<f64>()
        + (2 * cells + (2 + 2 * stripes) * FEATURES) * item
        + 40 * cells
        + (1 << 20);
    assert!(bound < data / 3, "{bound} {data}");
    let [peak, largest] = fit::<T>(sets, mixture, params);
    assert!(peak <= bound, "{what}: {peak} of {bound}");
    // The largest are the coefficients of one set.
    assert!(largest <= cells * item, "{what}: {largest}");
}

/// One test: the counters are the process's.
#[test]
fn nothing_of_the_size_of_the_data_is_allocated() {
    let sets = [20_000, 10_000].map(|cells| Counts::new(cells, Missing::None));
    let lacking = [Missing::Nan, Missing::Zeros]
        .map(|missing| [20_000, 10_000].map(|cells| Counts::new(cells, missing)));
    let mut half = vec![LossKind::Poisson; FEATURES];
    half[FEATURES / 2..].fill(LossKind::Mse);
    for (loss, mixture) in [
        (LossKind::Mse, &[][..]),
        (LossKind::Poisson, &[]),
        (LossKind::Nb, &[]),
        (LossKind::Zinb, &[]),
        (LossKind::Nb, &half),
    ] {
        let plain = FitParams {
            maxit: 4,
            tol: 0.0,
            weight: -0.2,
            ..FitParams::new(K, loss)
        };
        let explained = FitParams {
            weight: 1.0,
            k_target: 1,
            ..plain.clone()
        };
        let held_out = FitParams {
            hold_out: Some(HoldOut {
                seed: 1,
                part: 0.05,
            }),
            ..plain.clone()
        };
        let batches = FitParams {
            batches: Some(Batches {
                size: 500,
                update: Update::Batch,
            }),
            ..plain.clone()
        };
        for sets in &lacking {
            let what = format!(
                "{loss:?}, {} losses, {:?} missing",
                mixture.len(),
                sets[0].missing
            );
            is_small::<f32>(sets, mixture, &plain, &what);
        }
        for (params, what) in [
            (plain, "contrast"),
            (explained, "target-only"),
            (held_out, "held out"),
            (batches, "mini-batches"),
        ] {
            is_small::<f32>(
                &sets,
                mixture,
                &params,
                &format!("{loss:?}, {what}, single"),
            );
            is_small::<f64>(
                &sets,
                mixture,
                &params,
                &format!("{loss:?}, {what}, double"),
            );
        }
    }
}
