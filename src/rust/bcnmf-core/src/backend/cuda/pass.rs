//! A fit's coefficients on a device, and passes over its data.

use super::check;
use super::chunk::{Chunk, Staging, Transposer};
use super::data::Data;
use super::dispersed::{Dispersed, SLOPES, abreast, own_parts, parts_of_cells};
use super::driver::{Buffer, Kernel, Queue, wait_for};
use super::kernels::{
    Address, Arguments, COMMON, COMMON_THREADS, CellStep, FACTOR_THREADS, FeatureSums, Layout,
    Module, Rates, Scale, SumParts, Totals,
};
use crate::backend::{Backend, Coefficients, Job, Set, Sums};
use crate::loss::LossKind;
use crate::matrix::Matrix;
use crate::stats::WStats;
use crate::width::padded;
use crate::{FitParams, Problem, Result};
use cudarc::driver::{CudaEvent, DeviceRepr};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// Blocks of a pass over cells: a fixed number, so that sums are the same on all devices.
pub const MEASURING: usize = 4096;

/// Blocks that add up denominators: sums of coefficients, and Gram matrices, which take more room.
const ADDING: [usize; 2] = [256, 64];

/// Parts of a feature's entries that are added up by blocks of their own: few features alone would not keep a device busy.
pub fn parts_of(features: usize) -> usize {
    (8192 / features.max(1)).clamp(1, 32)
}

/// The coefficients of a fit's cells, and passes over the data of a device.
pub(crate) struct Cells {
    // First, so that nothing is in work when buffers are given back.
    queue: Queue,
    copies: Queue,
    data: Arc<Data>,
    loss: LossKind,
    layout: Layout,
    features: usize,
    kernels: Kernels,
    now: [Buffer<f32>; 2],
    next: [Buffer<f32>; 2],
    /// The coefficients here, while those are the ones that count.
    host: Option<Coefficients<f32>>,
    w: Buffer<f32>,
    /// Of both sets, as features' sizes may differ.
    shared: [Buffer<f32>; 2],
    scale: Buffer<f32>,
    flag: Buffer<u32>,
    /// Whether the new coefficients were looked at.
    looked: bool,
    sides: [Side; 2],
    /// Room for sums of parts.
    float_sums: Buffer<f32>,
    double_sums: Buffer<f64>,
    dispersed: Option<Dispersed>,
    /// Wᵀx and xᵀx of a chunk's cells, where they come first.
    pulls: Option<(Buffer<f32>, Buffer<f64>)>,
    /// Parts of numerators and denominators.
    parts: usize,
    adding: usize,
    /// Logarithms of the odds of dropout of cells that have them.
    log_odds: [Vec<f32>; 2],
    slots: Vec<Slot>,
    transposer: Option<Transposer>,
    /// What does not change in a fit, once it is here.
    constants: Option<Constants>,
    /// Chunks of both sets that this pass has launched.
    launched: usize,
    /// When the last two were done.
    done: [CudaEvent; 2],
    sums: [Sums; 2],
    records: [Vec<WStats<f32>>; 2],
    /// Host layout: numbers of a vector.
    padded: usize,
}

struct Kernels {
    /// Of losses without sizes.
    cell_step: Option<Kernel<CellStep>>,
    /// What comes before it with squared errors of data that are not compressed.
    cell_pull: Option<Kernel<CellStep>>,
    feature_sums: Kernel<FeatureSums>,
    totals: Kernel<Totals>,
    float_parts: Kernel<SumParts>,
    double_parts: Kernel<SumParts>,
    scale: Kernel<Scale>,
}

/// What a pass adds up for a set.
struct Side {
    sums: Buffer<f64>,
    /// Parts × features × stride.
    numerator: Buffer<f32>,
    denominator: Buffer<f64>,
}

/// Room for a chunk on its way.
struct Slot {
    staging: Staging,
    chunk: Chunk,
    /// When the kernels are done with it.
    free: CudaEvent,
}

/// Weights and rates of features and cells.
struct Constants {
    feature_weight: Option<Buffer<f32>>,
    profile: Option<Buffer<f32>>,
    sets: [OfSet; 2],
}

#[derive(Default)]
struct OfSet {
    cell_weight: Option<Buffer<f32>>,
    ambient: Option<Buffer<f32>>,
    down: Option<Buffer<f32>>,
}

impl Cells {
    /// Takes these coefficients to the device.
    ///
    /// # Errors
    /// If the device fails, has no room, or can't do what these parameters ask for.
    pub fn new(
        data: &Arc<Data>,
        problem: &Problem<'_>,
        params: &FitParams,
        h: [Vec<f32>; 2],
    ) -> Result<Self> {
        check(problem, params)?;
        let gpu = data.gpu();
        let (queue, copies) = (Queue::new(gpu)?, Queue::new(gpu)?);
        let layout = Layout::new(params.k);
        let (features, stride) = (problem.target.rows(), layout.stride());
        let cells = problem.sets().map(|set| set.map_or(0, Matrix::columns));
        let kernels = Kernels::load(&queue, layout, params.loss, data.dense)?;
        let room = |cells: usize| queue.room(cells * stride, "the coefficients");
        let (denominator, adding) = match params.loss {
            LossKind::Mse => (stride * stride, ADDING[1]),
            _ => (stride, ADDING[0]),
        };
        let parts = match data.dense {
            true => parts_of_cells(layout, features),
            false => parts_of(features),
        };
        let side = || {
            Ok(Side {
                sums: queue.room(3 * MEASURING, "sums")?,
                numerator: queue.room(parts * features * stride, "sums for W")?,
                denominator: queue.room(adding * denominator, "sums for W")?,
            })
        };
        let chunks = data.sets.iter().flatten().map(|plan| plan.cells.len());
        let pulls = (kernels.cell_pull.is_some())
            .then(|| {
                let most = chunks.clone().max().unwrap_or(0);
                let what = "what cells have";
                Ok((queue.room(most * stride, what)?, queue.room(most, what)?))
            })
            .transpose()?;
        let mut slots = Vec::new();
        if let Some(most) = data.streamed {
            for _ in 0..2 {
                slots.push(Slot {
                    staging: Staging::room(&copies, most)?,
                    chunk: Chunk::room(&queue, most)?,
                    free: gpu.event()?,
                });
            }
            // The memory is there for the other queue too.
            queue.wait()?;
        }
        let dispersed = (params.loss.has_sizes())
            .then(|| Dispersed::new(&queue, layout, features, chunks, cells, params))
            .transpose()?;
        let padded = padded::<f32>(params.k);
        let record = || WStats::new(params.loss, [features, 0], padded, false);
        let background = usize::from(problem.background.is_some());
        Ok(Cells {
            transposer: (data.streamed)
                .map(|most| Transposer::new(&queue, most))
                .transpose()?,
            data: data.clone(),
            loss: params.loss,
            layout,
            features,
            now: [room(cells[0])?, room(cells[1])?],
            next: [room(cells[0])?, room(cells[1])?],
            host: Some(Coefficients {
                next: h.each_ref().map(|h| vec![0.0; h.len()]),
                now: h,
            }),
            w: queue.room(features * stride, "the loadings")?,
            shared: [
                queue.room(denominator, "the loadings")?,
                queue.room(denominator, "the loadings")?,
            ],
            scale: queue.room(stride, "the loadings")?,
            flag: queue.room(1, "the loadings")?,
            looked: false,
            sides: [side()?, side()?],
            float_sums: queue.room(features * stride, "sums for W")?,
            double_sums: queue.room(denominator.max(features * SLOPES), "sums for W")?,
            dispersed,
            pulls,
            parts,
            adding,
            log_odds: Default::default(),
            slots,
            constants: None,
            launched: 0,
            done: [gpu.event()?, gpu.event()?],
            sums: Default::default(),
            records: [vec![record()], (0..background).map(|_| record()).collect()],
            padded,
            kernels,
            queue,
            copies,
        })
    }

    fn chunks(&self) -> usize {
        self.data.sets.iter().map(Vec::len).sum()
    }

    /// Set and number of a pass's chunk.
    fn chunk_at(&self, at: usize) -> (usize, usize) {
        let first = self.data.sets[0].len();
        if at < first { (0, at) } else { (1, at - first) }
    }

    /// What a pass needs before its first chunk.
    fn begin(&mut self, job: &Job<'_, f32>) -> Result<()> {
        if self.constants.is_none() {
            self.constants = Some(Constants::upload(&self.queue, job)?);
        }
        if let Some(host) = self.host.take() {
            let sets = host.now.iter().zip(&mut self.now);
            for (h, now) in sets.filter(|(h, _)| !h.is_empty()) {
                self.queue.write(&self.layout.spread(h, self.padded), now)?;
            }
        }
        let w = self.layout.spread(job.basis.w, self.padded);
        self.queue.write(&w, &mut self.w)?;
        for (set, shared) in self.shared.iter_mut().enumerate() {
            let (sums, numbers) = match self.loss {
                LossKind::Mse => (job.basis.shared, self.layout.k * self.layout.stride()),
                LossKind::Poisson => (job.basis.shared, self.layout.stride()),
                LossKind::Nb | LossKind::Zinb => (job.dispersed[set].sums, self.layout.stride()),
            };
            let rows = self.layout.spread(sums, self.padded);
            self.queue.clear(shared)?;
            self.queue.write(&rows[..numbers], shared)?;
        }
        if let Some(dispersed) = &mut self.dispersed {
            dispersed.begin(&self.queue, job, self.padded)?;
        }
        for side in &mut self.sides {
            self.queue.clear(&mut side.sums)?;
            if job.stats {
                self.queue.clear(&mut side.numerator)?;
                self.queue.clear(&mut side.denominator)?;
            }
        }
        Ok(())
    }

    /// Has the next chunk worked on.
    fn launch(&mut self, job: &Job<'_, f32>, sets: [Option<&Matrix<'_>>; 2]) -> Result<()> {
        let (set, number) = self.chunk_at(self.launched);
        // Not more than two are on their way, so that the clock is looked at.
        wait_for(&self.done[self.launched % 2])?;
        let data = self.data.clone();
        let plan = &data.sets[set][number];
        match (&plan.chunk, sets[set]) {
            (Some(chunk), _) => self.work(job, set, plan.cells.start, chunk)?,
            (None, Some(matrix)) => {
                let slot = &mut self.slots[0];
                slot.staging.fill(matrix, plan.cells.clone(), data.scale)?;
                self.copies.after(&slot.free)?;
                slot.staging.copy(&self.copies, &mut slot.chunk)?;
                slot.staging.hold(&self.queue)?;
                if let Some(transposer) = self.transposer.as_mut().filter(|_| job.stats) {
                    transposer.run(&self.queue, &slot.chunk)?;
                }
                let slot = &self.slots[0];
                self.work(job, set, plan.cells.start, &slot.chunk)?;
                self.queue.record(&slot.free)?;
                self.slots.rotate_left(1);
            }
            (None, None) => {}
        }
        self.queue.record(&self.done[self.launched % 2])?;
        self.launched += 1;
        Ok(())
    }

    /// H steps of a chunk's cells, from this one on, and their part of the record.
    fn work(&self, job: &Job<'_, f32>, set: usize, first: usize, chunk: &Chunk) -> Result<()> {
        let Some(constants) = &self.constants else {
            return Ok(());
        };
        let (count, stride) = (chunk.extent().cells, self.layout.stride());
        let rates = constants.rates(set, first, job.basis.guard);
        let lanes = self.layout.lanes as u32;
        let (h, h_next) = (
            self.now[set].at(first * stride),
            self.next[set].at(first * stride),
        );
        let (control, side) = (job.control, &self.sides[set]);
        let step = CellStep {
            cells: chunk.by_cell(),
            rates,
            dense: chunk.dense(),
            pull: self.pulls.as_ref().map_or(0, |(pull, _)| pull.start()),
            squares: self
                .pulls
                .as_ref()
                .map_or(0, |(_, squares)| squares.start()),
            w: self.w.start(),
            h,
            h_next,
            shared: self.shared[set].start(),
            down: address(&constants.sets[set].down, first),
            sums: side.sums.start(),
            ambient_sum: job.basis.ambient_sum,
            l1: control.l1,
            l2: control.l2,
            floor: control.floor,
            tolerance: control.tolerance,
            count: count as u32,
            features: self.features as u32,
            k: self.layout.k as u32,
            stride: stride as u32,
            lanes,
            steps: control.steps as u32,
            measures: u32::from(control.measures),
            ..CellStep::default()
        };
        let queue = &self.queue;
        if let Some(dispersed) = &self.dispersed {
            dispersed.steps(queue, job, [set, first], step)?;
        } else if let Some(kernel) = &self.kernels.cell_step {
            let tiles = count.div_ceil(abreast(self.layout));
            if let Some(kernel) = &self.kernels.cell_pull {
                queue.launch(kernel, [tiles as u32, 1], FACTOR_THREADS, &step)?;
            }
            let warps = FACTOR_THREADS as usize / 32;
            let blocks = match self.data.dense && self.kernels.cell_pull.is_none() {
                true => tiles,
                false => count.div_ceil(warps),
            };
            let blocks = [blocks.min(MEASURING) as u32, 1];
            queue.launch(kernel, blocks, FACTOR_THREADS, &step)?;
        }
        if !job.stats {
            return Ok(());
        }
        let parts = self.parts as u32;
        let mut sums = FeatureSums {
            features: chunk.by_feature(),
            rates,
            dense: chunk.dense(),
            cells: count as u32,
            w: self.w.start(),
            h: h_next,
            numerator: side.numerator.start(),
            count: self.features as u32,
            stride: stride as u32,
            lanes,
            parts,
            ..FeatureSums::default()
        };
        if let Some(dispersed) = &self.dispersed {
            sums.rates = dispersed.rates(rates, job, set, first, true);
            sums.own = dispersed.own(set).start();
            dispersed.record(queue, job, set, chunk, sums)?;
        }
        let blocks = match self.data.dense {
            true => self.features.div_ceil(abreast(self.layout)),
            false => self.features,
        };
        let blocks = [blocks as u32, parts];
        queue.launch(&self.kernels.feature_sums, blocks, FACTOR_THREADS, &sums)?;
        let totals = Totals {
            h: h_next,
            cell_weight: rates.cell_weight,
            sums: side.denominator.start(),
            cells: count as u32,
            stride: stride as u32,
        };
        let blocks = count.div_ceil(32).min(self.adding) as u32;
        queue.launch(&self.kernels.totals, [blocks, 1], COMMON_THREADS, &totals)
    }

    /// Fetches what a pass has added up.
    fn finish(&mut self, job: &Job<'_, f32>) -> Result<()> {
        for set in [0, 1] {
            if self.data.sets[set].is_empty() {
                continue;
            }
            let side = &self.sides[set];
            let measured = self.queue.read(&side.sums)?;
            let sum = |at: usize| measured.iter().skip(at).step_by(3).sum();
            self.sums[set] = Sums {
                divergence: sum(0),
                penalty: sum(1),
                excess: sum(2),
                ..Sums::default()
            };
            if !job.stats {
                continue;
            }
            let kernels = &self.kernels;
            let (floats, doubles) = (&kernels.float_parts, &kernels.double_parts);
            let (room, wide) = (&self.float_sums, &self.double_sums);
            let numerator = sum_parts(&self.queue, floats, &side.numerator, self.parts, room)?;
            let denominator =
                sum_parts(&self.queue, doubles, &side.denominator, self.adding, wide)?;
            let (padded, k) = (self.padded, self.layout.k);
            let Some(record) = self.records[set].first_mut() else {
                continue;
            };
            record.numerator = self.layout.gather(&numerator, padded);
            let rows = record.denominator.chunks_exact_mut(padded);
            for (to, from) in rows.zip(denominator.chunks_exact(self.layout.stride())) {
                to[..k].copy_from_slice(&from[..k]);
            }
            let Some(dispersed) = &self.dispersed else {
                continue;
            };
            let parts = own_parts(self.layout, self.features);
            let own = sum_parts(&self.queue, floats, dispersed.own(set), parts, room)?;
            record.own = self.layout.gather(&own, padded);
            if job.sizes {
                let slopes = sum_parts(&self.queue, doubles, dispersed.slopes(set), parts, wide)?;
                for (i, slopes) in slopes.as_chunks::<SLOPES>().0.iter().enumerate() {
                    let [first, second, dropout @ ..] = *slopes;
                    record.sizes[i] = [first, second];
                    if let Some(sums) = record.dropout.get_mut(i) {
                        *sums = dropout;
                    }
                }
            }
        }
        for (set, log_odds) in self.log_odds.iter_mut().enumerate() {
            let dispersed = self.dispersed.as_ref();
            let odds = dispersed.and_then(|dispersed| dispersed.odds(set));
            let moved = odds.filter(|_| !job.log_odds[set].is_empty() && job.control.steps > 0);
            *log_odds = match moved {
                Some(odds) => self.queue.read(odds)?,
                None => Vec::new(),
            };
        }
        Ok(())
    }

    fn fetch(&self, from: &Buffer<f32>) -> Result<Vec<f32>> {
        let values = self.queue.read(from)?;
        Ok(self.layout.gather(&values, self.padded))
    }
}

/// Sums of a buffer's parts, fetched; `room` for them.
fn sum_parts<T: DeviceRepr + Clone + Default>(
    queue: &Queue,
    kernel: &Kernel<SumParts>,
    parts: &Buffer<T>,
    number: usize,
    room: &Buffer<T>,
) -> Result<Vec<T>> {
    if number == 1 {
        return queue.read(parts);
    }
    let count = parts.len() / number;
    let arguments = SumParts {
        parts: parts.start(),
        sum: room.start(),
        count: count as u64,
        number: number as u32,
    };
    let blocks = (count as u32).div_ceil(COMMON_THREADS);
    queue.launch(kernel, [blocks, 1], COMMON_THREADS, &arguments)?;
    queue.read_first(room, count)
}

impl Kernels {
    fn load(queue: &Queue, layout: Layout, loss: LossKind, dense: bool) -> Result<Self> {
        fn common<A: Arguments>(queue: &Queue, name: &str) -> Result<Kernel<A>> {
            queue.gpu().kernel(COMMON, name)
        }
        use LossKind::{Mse, Nb, Poisson, Zinb};
        let step = match (loss, dense) {
            (Mse, _) => Some(layout.factors("cell_step_mse")),
            (Poisson, false) => Some(layout.factors("cell_step_poisson")),
            (Poisson, true) => Some(layout.dense("cell_step_dense_poisson")),
            (Nb | Zinb, _) => None,
        };
        let pull = (loss == Mse && dense).then(|| layout.dense("cell_pull_mse"));
        let sums = match (loss, dense) {
            (Mse, false) => layout.factors("feature_sums_mse"),
            (Mse, true) => layout.dense("feature_tiles_mse"),
            (Poisson, false) => layout.factors("feature_sums_poisson"),
            (Poisson, true) => layout.dense("feature_tiles_poisson"),
            (Nb | Zinb, _) => layout.dispersed("feature_sums_nb"),
        };
        let cells = |named: Option<(Module, String)>| {
            let load = |(module, name): (Module, String)| queue.gpu().kernel(module, &name);
            named.map(load).transpose()
        };
        let totals = match loss {
            Mse => "gram_h",
            _ => "total_h",
        };
        Ok(Kernels {
            cell_step: cells(step)?,
            cell_pull: cells(pull)?,
            feature_sums: queue.gpu().kernel(sums.0, &sums.1)?,
            totals: common(queue, totals)?,
            float_parts: common(queue, "sum_float_parts")?,
            double_parts: common(queue, "sum_double_parts")?,
            scale: common(queue, "scale_h")?,
        })
    }
}

impl Constants {
    fn upload(queue: &Queue, job: &Job<'_, f32>) -> Result<Self> {
        let copy = |values: &[f32]| {
            let some = (!values.is_empty()).then_some(values);
            some.map(|values| queue.upload(values, "weights"))
                .transpose()
        };
        let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
        let of_set = |set: usize| -> Result<OfSet> {
            let background = set == Set::Background as usize;
            let down: Vec<f32> = (job.size_factors[set].iter())
                .map(|factor| factor.recip() as f32)
                .collect();
            Ok(OfSet {
                cell_weight: copy(&narrow(job.weights[set]))?,
                ambient: if background { copy(job.ambient)? } else { None },
                down: copy(&down)?,
            })
        };
        Ok(Constants {
            feature_weight: copy(job.basis.weight)?,
            profile: copy(job.basis.ambient)?,
            sets: [of_set(0)?, of_set(1)?],
        })
    }

    /// Those of a set's cells from this one on.
    fn rates(&self, set: usize, first: usize, guard: f32) -> Rates {
        let of_set = &self.sets[set];
        Rates {
            feature_weight: address(&self.feature_weight, 0),
            cell_weight: address(&of_set.cell_weight, first),
            profile: address(&self.profile, 0),
            ambient: address(&of_set.ambient, first),
            guard,
            ..Rates::default()
        }
    }
}

/// Where an entry of a buffer is, if there is one.
fn address(buffer: &Option<Buffer<f32>>, at: usize) -> Address {
    buffer.as_ref().map_or(0, |buffer| buffer.at(at))
}

impl Backend<f32> for Cells {
    fn run(
        &mut self,
        job: &Job<'_, f32>,
        sets: [Option<&Matrix<'_>>; 2],
        deadline: Instant,
    ) -> Result<bool> {
        if self.launched == 0 {
            self.begin(job)?;
        }
        let all = self.chunks();
        while self.launched < all {
            self.launch(job, sets)?;
            if Instant::now() >= deadline && self.launched < all {
                return Ok(false);
            }
        }
        self.finish(job)?;
        Ok(true)
    }

    fn rewind(&mut self) {
        self.launched = 0;
    }

    fn fraction(&self) -> f64 {
        self.launched as f64 / self.chunks().max(1) as f64
    }

    fn sums(&self, set: Set) -> Sums {
        self.sums[set as usize]
    }

    fn take_records(&mut self) -> [Vec<WStats<f32>>; 2] {
        std::mem::take(&mut self.records)
    }

    fn give_records(&mut self, records: [Vec<WStats<f32>>; 2]) {
        self.records = records;
    }

    fn log_odds(&self, set: Set) -> Vec<f32> {
        self.log_odds[set as usize].clone()
    }

    fn scale_next(&mut self, scale: &[f64]) -> Result<()> {
        self.looked = true;
        let narrow: Vec<f32> = scale.iter().map(|&s| s as f32).collect();
        let scale = self.layout.spread(&narrow, self.padded);
        self.queue.write(&scale, &mut self.scale)?;
        self.queue.clear(&mut self.flag)?;
        for next in self.next.iter().filter(|next| next.len() > 0) {
            let arguments = Scale {
                h: next.start(),
                scale: self.scale.start(),
                flag: self.flag.start(),
                count: next.len() as u64,
                // Beyond the largest number there is only infinity.
                most: f32::MAX,
                stride: self.layout.stride() as u32,
            };
            let blocks = next.len().div_ceil(COMMON_THREADS as usize).min(4096) as u32;
            self.queue
                .launch(&self.kernels.scale, [blocks, 1], COMMON_THREADS, &arguments)?;
        }
        Ok(())
    }

    fn next_in_range(&mut self, most: f64) -> Result<bool> {
        debug_assert!(most >= f64::from(f32::MAX));
        if !self.looked {
            self.scale_next(&vec![1.0; self.padded])?;
        }
        Ok(self.queue.read(&self.flag)? == [0])
    }

    fn swap(&mut self) {
        self.looked = false;
        std::mem::swap(&mut self.now, &mut self.next);
    }

    fn coefficients(&self) -> Result<[Cow<'_, [f32]>; 2]> {
        if let Some(host) = &self.host {
            return Ok(host.now.each_ref().map(Cow::from));
        }
        let [x, y] = &self.now;
        Ok([self.fetch(x)?.into(), self.fetch(y)?.into()])
    }

    fn host(&mut self) -> Result<&mut Coefficients<f32>> {
        if self.host.is_none() {
            let now = [self.fetch(&self.now[0])?, self.fetch(&self.now[1])?];
            self.host = Some(Coefficients {
                next: now.each_ref().map(|h| vec![0.0; h.len()]),
                now,
            });
        }
        Ok(self.host.as_mut().expect("fetched"))
    }
}
