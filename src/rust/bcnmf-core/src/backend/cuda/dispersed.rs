//! What negative binomial counts, zero-inflated or not, need besides: sizes and odds, what zeros have, and records of features' own.

use super::driver::{Buffer, Kernel, Queue};
use super::kernels::{
    Address, COMMON, COMMON_THREADS, CellStep, FACTOR_THREADS, FeatureSums, Layout, Rates, SIZES,
    SumParts, Zeros,
};
use super::loadings::{parts_of, sum_parts};
use super::pass::MEASURING;
use crate::backend::Job;
use crate::loss::zinb::PRIOR;
use crate::real::count;
use crate::{FitParams, LossKind, Result};

/// Sums of slopes by size and odds for each feature.
pub const SLOPES: usize = 6;

/// Parts of the features, or of the cells, that blocks look at for few items, at most.
const MOST_PARTS: [usize; 2] = [16, 64];

/// What a fit of dispersed counts has on the device.
pub struct Dispersed {
    layout: Layout,
    features: usize,
    kernels: Kernels,
    sets: [OfSet; 2],
    /// Parts × cells × stride of one chunk, and parts × cells.
    shares: Buffer<f32>,
    lost: Buffer<f64>,
    /// Features × [`SLOPES`].
    slopes: Buffer<f64>,
    moves: Buffer<u8>,
    certain: Option<Buffer<u8>>,
    /// Entries of a cell that can be lost, each as often as its feature counts.
    entries: f64,
    unit: f32,
}

struct Kernels {
    step: Kernel<CellStep>,
    cell_zeros: Kernel<Zeros>,
    feature_zeros: Kernel<Zeros>,
    slopes: Kernel<FeatureSums>,
    excess: Kernel<CellStep>,
    add: Kernel<SumParts>,
}

/// Sizes and odds of a set, and what a pass adds up for it.
struct OfSet {
    size: Buffer<f32>,
    /// Those with a finite size, and their rows of W.
    dispersed: Buffer<u32>,
    rows: Buffer<f32>,
    number: usize,
    feature_odds: Option<Buffer<f32>>,
    /// Before and after the steps.
    cell_odds: Option<[Buffer<f32>; 2]>,
    ambient_sum: f32,
    /// Parts × features × stride.
    own: Buffer<f32>,
    /// Parts × features × [`SLOPES`].
    slopes: Buffer<f64>,
}

/// Parts of the cells that blocks of W steps look at, in which neighbouring threads share a feature.
pub fn parts_of_cells(layout: Layout, features: usize) -> usize {
    let blocks = features.div_ceil(abreast(layout));
    (1024 / blocks.max(1)).clamp(1, MOST_PARTS[1])
}

/// Parts of the features for zeros in H steps on so many cells.
fn parts_of_features(layout: Layout, cells: usize) -> usize {
    let blocks = cells.div_ceil(abreast(layout));
    (512 / blocks.max(1)).clamp(1, MOST_PARTS[0])
}

/// Vectors of cells that zeros have for H steps on at most so many cells: in each part one.
pub fn most_shares(layout: Layout, cells: usize) -> usize {
    // Where there are several parts they are of about as many cells together.
    (parts_of_features(layout, cells) * cells).max(cells.min(512 * abreast(layout)))
}

/// Items of a block in which neighbouring threads share one.
pub fn abreast(layout: Layout) -> usize {
    FACTOR_THREADS as usize / layout.lanes
}

/// Parts that features' own sums are kept in.
pub fn own_parts(layout: Layout, features: usize) -> usize {
    parts_of(features).max(parts_of_cells(layout, features))
}

impl Dispersed {
    /// For chunks of at most so many cells.
    pub fn new(
        queue: &Queue,
        layout: Layout,
        features: usize,
        chunks: impl Iterator<Item = usize> + Clone,
        cells: [usize; 2],
        params: &FitParams,
    ) -> Result<Self> {
        const WHAT: &str = "what zeros have";
        let parts = |cells: usize| parts_of_features(layout, cells) * cells;
        let most = chunks.clone().map(parts).max().unwrap_or(0);
        let stride = layout.stride();
        let own = own_parts(layout, features) * features;
        let per_cell = params.loss == LossKind::Zinb && params.dropout.per == crate::fit::Per::Cell;
        let of_set = |cells: usize| {
            let odds = || queue.room(cells, "odds of dropout");
            Ok(OfSet {
                size: queue.room(features, "sizes")?,
                dispersed: queue.room(features, "sizes")?,
                rows: queue.room(features * stride, "the loadings")?,
                number: 0,
                feature_odds: None,
                cell_odds: if per_cell {
                    Some([odds()?, odds()?])
                } else {
                    None
                },
                ambient_sum: 0.0,
                own: queue.room(own * stride, "sums for W")?,
                slopes: queue.room(own * SLOPES, "sums for sizes")?,
            })
        };
        let [x, y] = cells;
        let gpu = queue.gpu();
        let (module, name) = layout.dispersed("cell_step_nb");
        let step = gpu.kernel(module, &name)?;
        let [cell_zeros, feature_zeros] =
            ["cell_zeros", "feature_zeros"].map(|name| layout.dispersed(name).1);
        Ok(Dispersed {
            kernels: Kernels {
                step,
                cell_zeros: gpu.kernel(module, &cell_zeros)?,
                feature_zeros: gpu.kernel(module, &feature_zeros)?,
                slopes: gpu.kernel(SIZES, "entry_slopes")?,
                excess: gpu.kernel(SIZES, "entry_excess")?,
                add: gpu.kernel(COMMON, "sum_parts")?,
            },
            layout,
            features,
            sets: [of_set(x)?, of_set(y)?],
            shares: queue.room(most * stride, WHAT)?,
            lost: queue.room(most, WHAT)?,
            slopes: queue.room(features * SLOPES, "sums for sizes")?,
            moves: queue.room(chunks.max().unwrap_or(0), WHAT)?,
            certain: None,
            entries: 0.0,
            unit: 1.0,
        })
    }

    /// Takes sizes, odds and loadings of a pass; `padded`: numbers of a vector in the job.
    pub fn begin(&mut self, queue: &Queue, job: &Job<'_, f32>, padded: usize) -> Result<()> {
        for (set, of_set) in self.sets.iter_mut().enumerate() {
            let dispersed = job.dispersed[set];
            self.unit = dispersed.unit as f32;
            queue.write(dispersed.size.to_vec(), &mut of_set.size)?;
            queue.write(dispersed.features.to_vec(), &mut of_set.dispersed)?;
            let rows = self.layout.spread(dispersed.rows, padded);
            queue.write(rows, &mut of_set.rows)?;
            of_set.number = dispersed.features.len();
            of_set.ambient_sum = dispersed.ambient;
            of_set.feature_odds = if dispersed.log_odds.is_empty() {
                None
            } else {
                Some(queue.upload(dispersed.log_odds.to_vec(), "odds of dropout")?)
            };
            if let Some([now, _]) = &mut of_set.cell_odds {
                queue.write(job.log_odds[set].to_vec(), now)?;
            }
            if job.stats {
                queue.clear(&mut of_set.own)?;
                queue.clear(&mut of_set.slopes)?;
            }
        }
        let certain: Vec<u8> = (job.dispersed[0].certain.iter())
            .map(|&certain| u8::from(certain))
            .collect();
        let loses = |i: &usize| certain.get(*i).is_none_or(|&certain| certain == 0);
        let weight = |i: usize| f64::from(count(job.basis.weight, i));
        self.entries = (0..self.features).filter(loses).map(weight).sum();
        self.certain = if certain.is_empty() {
            None
        } else {
            Some(queue.upload(certain, "odds of dropout")?)
        };
        Ok(())
    }

    /// Rates of a set's cells from this one on; `after` the steps.
    pub fn rates(
        &self,
        rates: Rates,
        job: &Job<'_, f32>,
        set: usize,
        first: usize,
        after: bool,
    ) -> Rates {
        let of_set = &self.sets[set];
        let cell_odds = (of_set.cell_odds.as_ref()).filter(|_| !job.log_odds[set].is_empty());
        Rates {
            size: of_set.size.start(),
            feature_odds: of_set.feature_odds.as_ref().map_or(0, Buffer::start),
            cell_odds: cell_odds.map_or(0, |odds| odds[usize::from(after)].at(first)),
            certain: self.certain.as_ref().map_or(0, Buffer::start),
            unit: self.unit,
            ..rates
        }
    }

    /// H steps of a chunk's cells, from cell `first` of the set on; `step` has what all losses have.
    pub fn steps(
        &self,
        queue: &Queue,
        job: &Job<'_, f32>,
        [set, first]: [usize; 2],
        step: CellStep,
    ) -> Result<()> {
        let (of_set, cells) = (&self.sets[set], step.count as usize);
        let parts = if of_set.number == 0 {
            0
        } else {
            parts_of_features(self.layout, cells)
        };
        for at in 0..job.control.steps.max(1) {
            let again = at > 0;
            let measures = if again { 0 } else { step.measures };
            let rates = self.rates(step.rates, job, set, first, again);
            let h = if again { step.h_next } else { step.h };
            let odds_next = if rates.cell_odds == 0 {
                0
            } else {
                self.rates(step.rates, job, set, first, true).cell_odds
            };
            if parts > 0 {
                let zeros = Zeros {
                    shares: self.shares.start(),
                    lost: if odds_next == 0 { 0 } else { self.lost.start() },
                    sums: step.sums,
                    moves: if again { self.moves.start() } else { 0 },
                    parts: parts as u32,
                    measures,
                    ..self.zeros(set, rates, h, cells)
                };
                let blocks = cells.div_ceil(abreast(self.layout)).min(MEASURING / parts);
                let blocks = [blocks as u32, parts as u32];
                queue.launch(&self.kernels.cell_zeros, blocks, FACTOR_THREADS, &zeros)?;
            }
            let one = CellStep {
                rates,
                h,
                zeros: self.shares.start(),
                lost: self.lost.start(),
                odds_next,
                moves: self.moves.start(),
                entries: self.entries,
                prior: PRIOR * job.scale,
                ambient_sum: of_set.ambient_sum,
                parts: parts as u32,
                steps: step.steps.min(1),
                measures,
                again: u32::from(again),
                moves_odds: u32::from(job.moves_odds),
                ..step
            };
            let warps = FACTOR_THREADS as usize / 32;
            let blocks = cells.div_ceil(warps).min(MEASURING) as u32;
            queue.launch(&self.kernels.step, [blocks, 1], FACTOR_THREADS, &one)?;
            if job.excess && !again {
                let blocks = cells.min(MEASURING) as u32;
                queue.launch(&self.kernels.excess, [blocks, 1], COMMON_THREADS, &one)?;
            }
        }
        Ok(())
    }

    /// Features' own sums of a chunk, from the coefficients after its steps; `sums` has what all losses have.
    pub fn record(
        &self,
        queue: &Queue,
        job: &Job<'_, f32>,
        set: usize,
        sums: &FeatureSums,
    ) -> Result<()> {
        let of_set = &self.sets[set];
        let slopes = if job.sizes { of_set.slopes.start() } else { 0 };
        if of_set.number > 0 {
            let parts = parts_of_cells(self.layout, self.features) as u32;
            let zeros = Zeros {
                shares: of_set.own.start(),
                slopes,
                parts,
                ..self.zeros(set, sums.rates, sums.h, sums.cells as usize)
            };
            let blocks = of_set.number.div_ceil(abreast(self.layout)) as u32;
            let kernel = &self.kernels.feature_zeros;
            queue.launch(kernel, [blocks, parts], FACTOR_THREADS, &zeros)?;
            if job.sizes {
                let sums = FeatureSums { slopes, ..*sums };
                let blocks = [sums.count, sums.parts];
                queue.launch(&self.kernels.slopes, blocks, COMMON_THREADS, &sums)?;
            }
        }
        Ok(())
    }

    /// Where features' own denominators are added up.
    pub fn own(&self, set: usize) -> &Buffer<f32> {
        &self.sets[set].own
    }

    /// In how many parts.
    pub fn own_parts(&self) -> usize {
        own_parts(self.layout, self.features)
    }

    /// Sizes of the features.
    pub fn size(&self, set: usize) -> &Buffer<f32> {
        &self.sets[set].size
    }

    /// Sums for derivatives by size and odds, feature by feature.
    pub fn slopes(&self, queue: &Queue, set: usize) -> Result<Vec<f64>> {
        let parts = &self.sets[set].slopes;
        sum_parts(
            queue,
            &self.kernels.add,
            parts,
            self.own_parts(),
            &self.slopes,
        )?;
        queue.read(&self.slopes)
    }

    /// The odds of a set's cells after their steps.
    pub fn odds(&self, set: usize) -> Option<&Buffer<f32>> {
        self.sets[set].cell_odds.as_ref().map(|[_, next]| next)
    }

    fn zeros(&self, set: usize, rates: Rates, h: Address, cells: usize) -> Zeros {
        let of_set = &self.sets[set];
        Zeros {
            rates,
            dispersed: of_set.dispersed.start(),
            w: of_set.rows.start(),
            h,
            cells: cells as u32,
            features: of_set.number as u32,
            all: self.features as u32,
            stride: self.layout.stride() as u32,
            lanes: self.layout.lanes as u32,
            ..Zeros::default()
        }
    }
}
