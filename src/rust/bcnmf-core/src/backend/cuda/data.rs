//! A problem's data on a device: chunks that stay there, as many as there is room for, and a plan for the others.

use super::chunk::{Chunk, Extent, Staging, Transposer};
use super::dispersed::{most_shares, own_parts, parts_of_cells};
use super::driver::{Gpu, Queue};
use super::kernels::Layout;
use super::loadings::parts_of;
use super::refused;
use crate::matrix::{Columns, Matrix, with_columns};
use crate::{Error, FitParams, Problem, Result};
use std::ops::Range;
use std::sync::Arc;

/// Cells of a chunk, at most: what is kept for each of them counts too.
const MOST_CELLS: usize = 1 << 18;

/// Bytes of a chunk, at most. Enough to keep a GPU busy, and few enough for a look at the clock in between.
const MOST_BYTES: usize = 1 << 28;

/// Of the free memory, what is used: others may need some, and memory comes in pages.
const USED: f64 = 0.9;

/// Chunks of a set.
pub struct Plan {
    pub cells: Range<usize>,
    /// On the device, if there was room.
    pub chunk: Option<Chunk>,
}

/// The data of a problem on a device.
pub struct Data {
    gpu: Arc<Gpu>,
    /// Of target and background.
    pub sets: [Vec<Plan>; 2],
    /// The largest chunk that is not on the device; `None` where all are.
    pub streamed: Option<Extent>,
    /// Whether chunks have all entries, and not those alone that are not zero.
    pub dense: bool,
    /// What values are multiplied by.
    pub scale: f64,
    /// Fits of so many factors that have room beside each other, about.
    pub fits: usize,
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chunks = self.sets.each_ref().map(Vec::len);
        write!(
            f,
            "Data {{ chunks: {chunks:?}, streamed: {:?} }}",
            self.streamed
        )
    }
}

impl Data {
    /// Copies what has room beside a fit, in so many bytes or, if there are less, in those that are free. Runs on the current thread
    /// pool.
    ///
    /// # Errors
    /// If the device fails, or has no room for two chunks and a fit.
    pub fn new(
        gpu: Arc<Gpu>,
        problem: &Problem<'_>,
        params: &FitParams,
        most: usize,
    ) -> Result<Self> {
        let cells: usize = problem
            .sets()
            .into_iter()
            .flatten()
            .map(Matrix::columns)
            .sum();
        if cells > u32::MAX as usize {
            return Err(refused("it counts at most 4294967295 cells"));
        }
        let queue = Queue::new(&gpu)?;
        let free = gpu.free()?;
        let room = ((free as f64 * USED) as usize).min(most);
        let fit = bytes_of_fit(problem, params.k);
        let rest = room.saturating_sub(fit);
        let dense = is_dense(problem, params);
        // Several of them in what is left, and what transposes them.
        let bytes = (rest / 8).min(MOST_BYTES);
        // Sums depend on where chunks end: not on every byte that happens to be free.
        let bytes = bytes.checked_ilog2().map_or(0, |log| 1 << log);
        let scale = problem.unit().recip();
        let mut data = Data {
            sets: (problem.sets()).map(|set| set.map_or(Vec::new(), |set| plan(set, dense, bytes))),
            streamed: None,
            dense,
            scale,
            fits: 1,
            gpu,
        };
        let extents: Vec<Extent> = (problem.sets().into_iter().zip(&data.sets))
            .filter_map(|(set, plans)| Some((set?, plans)))
            .flat_map(|(set, plans)| plans.iter().map(|plan| extent(set, &plan.cells, dense)))
            .collect();
        let largest = extents.iter().copied().fold(Extent::default(), Extent::or);
        let all: usize = extents.iter().map(|extent| extent.bytes()).sum();
        let transposer = largest.bytes_to_transpose();
        let slots = 2 * largest.bytes() + transposer;
        let mut left = if all + transposer <= rest {
            rest - transposer
        } else {
            rest.saturating_sub(slots)
        };
        if slots.min(all + transposer) > rest {
            return Err(Error::DeviceMemory {
                what: "a part of the data and a fit",
                needed: fit + slots,
                free: room,
            });
        }
        let mut staging = Staging::room(&queue, largest)?;
        let mut transpose = Transposer::new(&queue, largest)?;
        for (set, plans) in problem.sets().into_iter().zip(&mut data.sets) {
            for plan in plans {
                let Some(set) = set else { continue };
                let extent = extent(set, &plan.cells, dense);
                if extent.bytes() > left {
                    data.streamed = Some(data.streamed.unwrap_or_default().or(extent));
                    continue;
                }
                left -= extent.bytes();
                let mut chunk = Chunk::room(&queue, extent)?;
                staging.fill(set, plan.cells.clone(), scale)?;
                staging.copy(&queue, &mut chunk)?;
                transpose.run(&queue, &chunk)?;
                plan.chunk = Some(chunk);
            }
        }
        queue.wait()?;
        if data.streamed.is_none() {
            data.fits = 1 + left / fit.max(1);
        }
        Ok(data)
    }

    /// Where it is.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // Buffers are given back by whatever thread this is.
        self.gpu.bind();
    }
}

/// Whether all entries take less room than those that are not zero, twice and with their places. What has sizes looks at counts above zero by
/// themselves.
fn is_dense(problem: &Problem<'_>, params: &FitParams) -> bool {
    let sets = || problem.each_set().into_iter().flatten();
    let all: usize = sets().map(|(set, _)| set.rows() * set.columns()).sum();
    let positive: usize = sets().map(|(_, summary)| summary.positive).sum();
    !params.loss.has_sizes() && 4 * positive > all
}

/// Consecutive cells with at most so many bytes, or one cell that has more.
fn plan(set: &Matrix<'_>, dense: bool, bytes: usize) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut from = 0;
    while from < set.columns() {
        // The last cell that ends within.
        let (mut low, mut high) = (from + 1, set.columns().min(from + MOST_CELLS));
        while low < high {
            let middle = (low + high).div_ceil(2);
            if extent(set, &(from..middle), dense).bytes() <= bytes {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        plans.push(Plan {
            cells: from..low,
            chunk: None,
        });
        from = low;
    }
    plans
}

fn extent(set: &Matrix<'_>, cells: &Range<usize>, dense: bool) -> Extent {
    let before = |j: usize| match dense {
        true => j * set.rows(),
        false => with_columns!(set, block => block.stored_before(j)),
    };
    Extent {
        cells: cells.len(),
        entries: before(cells.end) - before(cells.start),
        features: set.rows(),
        dense,
    }
}

/// What a fit takes beside the data, about: coefficients twice, records, and what cells of a chunk have for their steps.
fn bytes_of_fit(problem: &Problem<'_>, k: usize) -> usize {
    let sets = || problem.sets().into_iter().flatten();
    let cells: usize = sets().map(Matrix::columns).sum();
    let (layout, features) = (Layout::new(k), problem.target.rows());
    let parts =
        parts_of(features).max(parts_of_cells(layout, features)) + own_parts(layout, features);
    let most = sets()
        .map(Matrix::columns)
        .max()
        .unwrap_or(0)
        .min(MOST_CELLS);
    let shares = most_shares(layout, most);
    let items = 2 * cells + 4 * parts * features + shares;
    items * layout.stride() * size_of::<f32>() + shares * size_of::<f64>() + (1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Dense;
    use ndarray::{Array2, ShapeBuilder};

    #[test]
    fn chunks_follow_each_other() {
        let x = Array2::<f64>::ones((7, 50).f());
        let matrix = Matrix::Dense(Dense::new(x.view()).expect("column-major"));
        for (dense, bytes) in [
            (true, 1),
            (false, 300),
            (true, 300),
            (false, 1 << 12),
            (true, 1 << 20),
        ] {
            let plans = plan(&matrix, dense, bytes);
            assert_eq!(plans[0].cells.start, 0);
            assert_eq!(plans.last().map(|last| last.cells.end), Some(50));
            assert!(plans.windows(2).all(|w| w[0].cells.end == w[1].cells.start));
            let small = |p: &Plan| extent(&matrix, &p.cells, dense).bytes() <= bytes;
            assert!(plans.iter().all(|p| p.cells.len() == 1 || small(p)));
        }
    }
}
