//! A fit's coefficients on a device, and passes over its data.

use super::check;
use super::chunk::{Chunk, Staging, Transposer};
use super::constants::Constants;
use super::data::Data;
use super::dispersed::{Dispersed, SLOPES, abreast};
use super::driver::{Buffer, Kernel, Queue, wait_for};
use super::kernels::{COMMON, COMMON_THREADS, CellStep, FACTOR_THREADS, Layout, Module, Scale};
use super::loadings::{Loadings, denominator_len};
use crate::aligned::Aligned;
use crate::backend::{Backend, Coefficients, Job, Set, Sums};
use crate::fit::WControl;
use crate::loss::LossKind;
use crate::matrix::Matrix;
use crate::stats::WStats;
use crate::width::padded;
use crate::{FitParams, Problem, Result};
use cudarc::driver::CudaEvent;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// Blocks of a pass over cells: a fixed number, so that sums are the same on all devices.
pub const MEASURING: usize = 4096;

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
    loadings: Loadings,
    /// Of both sets, as features' sizes may differ.
    shared: [Buffer<f32>; 2],
    scale: Buffer<f32>,
    flag: Buffer<u32>,
    /// Whether the new coefficients were looked at.
    looked: bool,
    /// What passes measure of both sets, block by block.
    measured: [Buffer<f64>; 2],
    dispersed: Option<Dispersed>,
    /// Wᵀx and xᵀx of a chunk's cells, where they come first.
    pulls: Option<(Buffer<f32>, Buffer<f64>)>,
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
    scale: Kernel<Scale>,
}

/// Room for a chunk on its way.
struct Slot {
    staging: Staging,
    chunk: Chunk,
    /// When the kernels are done with it.
    free: CudaEvent,
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
        let shared = || queue.room(denominator_len(params.loss, layout), "the loadings");
        let measured = || queue.room(3 * MEASURING, "sums");
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
        // All else for W stays on the device.
        let record = || WStats {
            numerator: Aligned::default(),
            own: Aligned::default(),
            ..WStats::new(params.loss, [features, 0], padded, false)
        };
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
            loadings: Loadings::new(&queue, layout, features, params.loss, data)?,
            shared: [shared()?, shared()?],
            scale: queue.room(stride, "the loadings")?,
            flag: queue.room(1, "the loadings")?,
            looked: false,
            measured: [measured()?, measured()?],
            dispersed,
            pulls,
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
                self.queue.write(self.layout.spread(h, self.padded), now)?;
            }
        }
        let w = self.layout.spread(job.basis.w, self.padded);
        self.loadings.begin(&self.queue, w, job.stats)?;
        for (set, shared) in self.shared.iter_mut().enumerate() {
            let (sums, numbers) = match self.loss {
                LossKind::Mse => (job.basis.shared, self.layout.k * self.layout.stride()),
                LossKind::Poisson => (job.basis.shared, self.layout.stride()),
                LossKind::Nb | LossKind::Zinb => (job.dispersed[set].sums, self.layout.stride()),
            };
            let mut rows = self.layout.spread(sums, self.padded);
            rows.resize(numbers, 0.0);
            self.queue.clear(shared)?;
            self.queue.write(rows, shared)?;
        }
        if let Some(dispersed) = &mut self.dispersed {
            dispersed.begin(&self.queue, job, self.padded)?;
        }
        for measured in &mut self.measured {
            self.queue.clear(measured)?;
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
        let control = job.control;
        let step = CellStep {
            cells: chunk.by_cell(),
            rates,
            dense: chunk.dense(),
            pull: self.pulls.as_ref().map_or(0, |(pull, _)| pull.start()),
            squares: self
                .pulls
                .as_ref()
                .map_or(0, |(_, squares)| squares.start()),
            w: self.loadings.start(),
            h,
            h_next,
            shared: self.shared[set].start(),
            down: constants.down(set, first),
            sums: self.measured[set].start(),
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
        let mut sums = self.loadings.sums(set, chunk, rates, h_next);
        if let Some(dispersed) = &self.dispersed {
            sums.rates = dispersed.rates(rates, job, set, first, true);
            sums.own = dispersed.own(set).start();
            dispersed.record(queue, job, set, &sums)?;
        }
        self.loadings.record(queue, set, &sums)
    }

    /// Fetches what a pass has added up.
    fn finish(&mut self, job: &Job<'_, f32>) -> Result<()> {
        for set in [0, 1] {
            if self.data.sets[set].is_empty() {
                continue;
            }
            let measured = self.queue.read(&self.measured[set])?;
            let sum = |at: usize| measured.iter().skip(at).step_by(3).sum();
            self.sums[set] = Sums {
                divergence: sum(0),
                penalty: sum(1),
                excess: sum(2),
                ..Sums::default()
            };
            let dispersed = self.dispersed.as_ref().filter(|_| job.stats && job.sizes);
            let (Some(dispersed), Some(record)) = (dispersed, self.records[set].first_mut()) else {
                continue;
            };
            let slopes = dispersed.slopes(&self.queue, set)?;
            for (i, slopes) in slopes.as_chunks::<SLOPES>().0.iter().enumerate() {
                let [first, second, dropout @ ..] = *slopes;
                record.sizes[i] = [first, second];
                if let Some(sums) = record.dropout.get_mut(i) {
                    *sums = dropout;
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

impl Kernels {
    fn load(queue: &Queue, layout: Layout, loss: LossKind, dense: bool) -> Result<Self> {
        use LossKind::{Mse, Nb, Poisson, Zinb};
        let step = match (loss, dense) {
            (Mse, _) => Some(layout.factors("cell_step_mse")),
            (Poisson, false) => Some(layout.factors("cell_step_poisson")),
            (Poisson, true) => Some(layout.dense("cell_step_dense_poisson")),
            (Nb | Zinb, _) => None,
        };
        let pull = (loss == Mse && dense).then(|| layout.dense("cell_pull_mse"));
        let cells = |named: Option<(Module, String)>| {
            let load = |(module, name): (Module, String)| queue.gpu().kernel(module, &name);
            named.map(load).transpose()
        };
        Ok(Kernels {
            cell_step: cells(step)?,
            cell_pull: cells(pull)?,
            scale: queue.gpu().kernel(COMMON, "scale_h")?,
        })
    }
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

    fn step_w(&mut self, w_next: &mut [f32], control: WControl) -> Result<bool> {
        let sets = self.data.sets.each_ref().map(|set| !set.is_empty());
        let (queue, dispersed) = (&self.queue, self.dispersed.as_ref());
        let next = self.loadings.step(queue, sets, dispersed, control)?;
        w_next.copy_from_slice(&self.layout.gather(&next, self.padded));
        Ok(true)
    }

    fn log_odds(&self, set: Set) -> Vec<f32> {
        self.log_odds[set as usize].clone()
    }

    fn scale_next(&mut self, scale: &[f64]) -> Result<()> {
        self.looked = true;
        let narrow: Vec<f32> = scale.iter().map(|&s| s as f32).collect();
        let scale = self.layout.spread(&narrow, self.padded);
        self.queue.write(scale, &mut self.scale)?;
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
