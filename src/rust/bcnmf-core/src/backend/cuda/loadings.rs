//! W on the device: what a pass adds up for it, and its steps.

use super::chunk::Chunk;
use super::data::Data;
use super::dispersed::{Dispersed, abreast, parts_of_cells};
use super::driver::{Buffer, Kernel, Queue};
use super::kernels::{
    Address, COMMON, COMMON_THREADS, FACTOR_THREADS, FeatureSums, Gathered, LOADINGS, Layout,
    Rates, SumParts, Totals, WStep,
};
use crate::fit::WControl;
use crate::{LossKind, Result};

/// Blocks that add up denominators: sums of coefficients, and Gram matrices, which take more room.
const ADDING: [usize; 2] = [256, 64];

/// Parts of a feature's entries that are added up by blocks of their own: few features alone would not keep a device busy.
pub fn parts_of(features: usize) -> usize {
    (8192 / features.max(1)).clamp(1, 32)
}

/// The loadings of a fit, and sums for their next step.
pub struct Loadings {
    layout: Layout,
    features: usize,
    /// Whether denominators are Gram matrices.
    quadratic: bool,
    dense: bool,
    w: Buffer<f32>,
    next: Buffer<f32>,
    /// Of target and background.
    sides: [Side; 2],
    /// Parts of numerators and denominators.
    parts: usize,
    adding: usize,
    feature_sums: Kernel<FeatureSums>,
    totals: Kernel<Totals>,
    add: Kernel<SumParts>,
    step: Kernel<WStep>,
}

/// What a pass adds up for a set.
struct Side {
    /// Parts × features × stride.
    numerator: Buffer<f32>,
    /// Parts × stride, or × stride².
    denominator: Buffer<f64>,
    /// Their sum.
    total: Buffer<f64>,
}

/// Numbers that a cell's coefficients add to denominators.
pub fn denominator_len(loss: LossKind, layout: Layout) -> usize {
    match loss {
        LossKind::Mse => layout.stride() * layout.stride(),
        _ => layout.stride(),
    }
}

impl Loadings {
    /// For the data and a loss.
    pub fn new(
        queue: &Queue,
        layout: Layout,
        features: usize,
        loss: LossKind,
        data: &Data,
    ) -> Result<Self> {
        use LossKind::{Mse, Nb, Poisson, Zinb};
        let (gpu, dense) = (queue.gpu(), data.dense);
        let (module, name) = match (loss, dense) {
            (Mse, false) => layout.factors("feature_sums_mse"),
            (Mse, true) => layout.dense("feature_tiles_mse"),
            (Poisson, false) => layout.factors("feature_sums_poisson"),
            (Poisson, true) => layout.dense("feature_tiles_poisson"),
            (Nb | Zinb, _) => layout.dispersed("feature_sums_nb"),
        };
        let quadratic = loss == Mse;
        let adding = ADDING[usize::from(quadratic)];
        let parts = match dense {
            true => parts_of_cells(layout, features),
            false => parts_of(features),
        };
        let denominator = denominator_len(loss, layout);
        let w = || queue.room(features * layout.stride(), "the loadings");
        let side = || {
            const WHAT: &str = "sums for W";
            Ok(Side {
                numerator: queue.room(parts * features * layout.stride(), WHAT)?,
                denominator: queue.room(adding * denominator, WHAT)?,
                total: queue.room(denominator, WHAT)?,
            })
        };
        Ok(Loadings {
            w: w()?,
            next: w()?,
            sides: [side()?, side()?],
            feature_sums: gpu.kernel(module, &name)?,
            totals: gpu.kernel(COMMON, if quadratic { "gram_h" } else { "total_h" })?,
            add: gpu.kernel(COMMON, "sum_parts")?,
            step: gpu.kernel(LOADINGS, "w_step")?,
            layout,
            features,
            quadratic,
            dense,
            parts,
            adding,
        })
    }

    /// Where they are.
    pub fn start(&self) -> Address {
        self.w.start()
    }

    /// Takes the loadings of a pass; `sums` says whether it adds something up.
    pub fn begin(&mut self, queue: &Queue, w: Vec<f32>, sums: bool) -> Result<()> {
        queue.write(w, &mut self.w)?;
        for side in self.sides.iter_mut().filter(|_| sums) {
            queue.clear(&mut side.numerator)?;
            queue.clear(&mut side.denominator)?;
        }
        Ok(())
    }

    /// What numerators of a set are added to, from a chunk whose coefficients are at `h`.
    pub fn sums(&self, set: usize, chunk: &Chunk, rates: Rates, h: Address) -> FeatureSums {
        FeatureSums {
            features: chunk.by_feature(),
            rates,
            dense: chunk.dense(),
            w: self.w.start(),
            h,
            numerator: self.sides[set].numerator.start(),
            count: self.features as u32,
            cells: chunk.extent().cells as u32,
            stride: self.layout.stride() as u32,
            lanes: self.layout.lanes as u32,
            parts: self.parts as u32,
            ..FeatureSums::default()
        }
    }

    /// Adds up what a chunk has.
    pub fn record(&self, queue: &Queue, set: usize, sums: &FeatureSums) -> Result<()> {
        let blocks = match self.dense {
            true => self.features.div_ceil(abreast(self.layout)),
            false => self.features,
        };
        let blocks = [blocks as u32, sums.parts];
        queue.launch(&self.feature_sums, blocks, FACTOR_THREADS, sums)?;
        let totals = Totals {
            h: sums.h,
            cell_weight: sums.rates.cell_weight,
            sums: self.sides[set].denominator.start(),
            cells: sums.cells,
            stride: sums.stride,
        };
        let blocks = sums.cells.div_ceil(32).min(self.adding as u32);
        queue.launch(&self.totals, [blocks, 1], COMMON_THREADS, &totals)
    }

    /// The next loadings, from what was added up of the sets that there are.
    pub fn step(
        &self,
        queue: &Queue,
        sets: [bool; 2],
        dispersed: Option<&Dispersed>,
        control: WControl,
    ) -> Result<Vec<f32>> {
        let mut step = WStep {
            w: self.w.start(),
            w_next: self.next.start(),
            weight: control.weight,
            l1: control.l1,
            l2: control.l2,
            guard: control.guard,
            floor: control.floor,
            ceiling: control.ceiling,
            features: self.features as u32,
            k: self.layout.k as u32,
            stride: self.layout.stride() as u32,
            parts: self.parts as u32,
            own_parts: dispersed.map_or(0, |dispersed| dispersed.own_parts() as u32),
            quadratic: u32::from(self.quadratic),
            // What is held is put back after a step, not between several.
            steps: if control.descends() && control.free == self.layout.k {
                control.steps as u32
            } else {
                1
            },
            ..WStep::default()
        };
        for (set, side) in self.sides.iter().enumerate().filter(|&(set, _)| sets[set]) {
            sum_parts(
                queue,
                &self.add,
                &side.denominator,
                self.adding,
                &side.total,
            )?;
            step.sets[set] = Gathered {
                numerator: side.numerator.start(),
                denominator: side.total.start(),
                size: dispersed.map_or(0, |dispersed| dispersed.size(set).start()),
                own: dispersed.map_or(0, |dispersed| dispersed.own(set).start()),
            };
        }
        let warps = FACTOR_THREADS as usize / 32;
        let blocks = self.features.div_ceil(warps) as u32;
        queue.launch(&self.step, [blocks, 1], FACTOR_THREADS, &step)?;
        queue.read(&self.next)
    }
}

/// Adds a buffer's parts up.
pub fn sum_parts(
    queue: &Queue,
    kernel: &Kernel<SumParts>,
    parts: &Buffer<f64>,
    number: usize,
    sum: &Buffer<f64>,
) -> Result<()> {
    let count = sum.len();
    debug_assert_eq!(parts.len(), number * count);
    let arguments = SumParts {
        parts: parts.start(),
        sum: sum.start(),
        count: count as u64,
        number: number as u32,
    };
    let blocks = (count as u32).div_ceil(COMMON_THREADS);
    queue.launch(kernel, [blocks, 1], COMMON_THREADS, &arguments)
}
