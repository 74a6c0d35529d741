//! Some consecutive cells of a set on their way to the device, and there.

use super::driver::{Buffer, Kernel, Pinned, Queue, wait_for};
use super::kernels::{Address, COMMON, COMMON_THREADS, Entries, Transpose};
use crate::Result;
use crate::matrix::{Columns, Matrix, with_columns};
use cudarc::driver::CudaEvent;
use rayon::prelude::*;
use std::ops::Range;

/// Cells of one parallel task.
const CELLS: usize = 256;

/// Bytes that the counts of a transposition may take.
const COUNTS: usize = 64 << 20;

/// What a chunk holds, at most or in fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub cells: usize,
    pub entries: usize,
    pub features: usize,
    /// Whether it has all entries, and not those alone that are not zero.
    pub dense: bool,
}

impl Extent {
    /// The least that holds both, of chunks of one form.
    pub fn or(self, other: Extent) -> Extent {
        Extent {
            cells: self.cells.max(other.cells),
            entries: self.entries.max(other.entries),
            features: self.features.max(other.features),
            dense: self.dense || other.dense,
        }
    }

    /// Bytes of a chunk on the device.
    pub fn bytes(self) -> usize {
        if self.dense {
            return size_of::<f32>() * self.entries;
        }
        size_of::<u32>() * (4 * self.entries + self.cells + self.features + 2)
    }

    /// Bytes for its transposition.
    pub fn bytes_to_transpose(self) -> usize {
        if self.dense {
            return 0;
        }
        self.groups() * self.features * size_of::<u32>()
    }

    /// Groups of cells that are counted on their own: many, for parallel work, as far as there is room.
    fn groups(self) -> usize {
        let room = COUNTS / (size_of::<u32>() * self.features.max(1));
        self.cells.div_ceil(32).min(room).max(1)
    }
}

/// Data of some cells on the device.
pub struct Chunk {
    extent: Extent,
    /// Values by cell.
    value: Buffer<f32>,
    /// What else there is of those that are compressed.
    compressed: Option<Compressed>,
}

struct Compressed {
    start: Buffer<u32>,
    index: Buffer<u32>,
    feature_start: Buffer<u32>,
    cell: Buffer<u32>,
    feature_value: Buffer<f32>,
}

impl Chunk {
    /// Room for so much.
    pub fn room(queue: &Queue, most: Extent) -> Result<Self> {
        const WHAT: &str = "the data";
        let compressed = || {
            Ok(Compressed {
                start: queue.room(most.cells + 1, WHAT)?,
                index: queue.room(most.entries, WHAT)?,
                feature_start: queue.room(most.features + 1, WHAT)?,
                cell: queue.room(most.entries, WHAT)?,
                feature_value: queue.room(most.entries, WHAT)?,
            })
        };
        Ok(Chunk {
            extent: Extent::default(),
            value: queue.room(most.entries, WHAT)?,
            compressed: (!most.dense).then(compressed).transpose()?,
        })
    }

    /// What it holds.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Entries by cell; none of data that are not compressed.
    pub fn by_cell(&self) -> Entries {
        self.compressed
            .as_ref()
            .map_or(Entries::default(), |compressed| Entries {
                start: compressed.start.start(),
                index: compressed.index.start(),
                value: self.value.start(),
            })
    }

    /// The same by feature.
    pub fn by_feature(&self) -> Entries {
        self.compressed
            .as_ref()
            .map_or(Entries::default(), |compressed| Entries {
                start: compressed.feature_start.start(),
                index: compressed.cell.start(),
                value: compressed.feature_value.start(),
            })
    }

    /// All values, of data that are not compressed; else none.
    pub fn dense(&self) -> Address {
        match self.compressed {
            Some(_) => 0,
            None => self.value.start(),
        }
    }
}

/// Data of some cells in pinned memory.
pub struct Staging {
    extent: Extent,
    dense: bool,
    start: Pinned<u32>,
    index: Pinned<u32>,
    value: Pinned<f32>,
    /// When the last copy from here was done.
    copied: CudaEvent,
}

impl Staging {
    /// Room for so much.
    pub fn room(queue: &Queue, most: Extent) -> Result<Self> {
        let gpu = queue.gpu();
        let index = if most.dense { 0 } else { most.entries };
        Ok(Staging {
            extent: Extent::default(),
            dense: most.dense,
            start: gpu.pinned(most.cells + 1)?,
            index: gpu.pinned(index)?,
            value: gpu.pinned(most.entries)?,
            copied: gpu.event()?,
        })
    }

    /// Takes these cells, with values multiplied by `scale`. Runs on the current thread pool, when the last copy is done.
    pub fn fill(&mut self, matrix: &Matrix<'_>, cells: Range<usize>, scale: f64) -> Result<()> {
        wait_for(&self.copied)?;
        if self.dense {
            return self.fill_all(matrix, cells, scale);
        }
        let count = cells.len();
        let start = &mut self.start.values()?[..=count];
        let counts = start[1..].par_chunks_mut(CELLS).enumerate();
        counts.for_each(|(part, counts)| {
            for (at, number) in counts.iter_mut().enumerate() {
                let j = cells.start + part * CELLS + at;
                *number = with_columns!(matrix, block => block.column(j).count()) as u32;
            }
        });
        start[0] = 0;
        for at in 0..count {
            start[at + 1] += start[at];
        }
        self.extent = Extent {
            cells: count,
            entries: start[count] as usize,
            features: matrix.rows(),
            dense: false,
        };
        let (mut index, mut value) = (self.index.values()?, self.value.values()?);
        let mut parts = Vec::with_capacity(count.div_ceil(CELLS));
        for from in (0..count).step_by(CELLS) {
            let to = (from + CELLS).min(count);
            let entries = (start[to] - start[from]) as usize;
            let (own_index, others) = index.split_at_mut(entries);
            let (own_value, other_values) = value.split_at_mut(entries);
            (index, value) = (others, other_values);
            parts.push((cells.start + from..cells.start + to, own_index, own_value));
        }
        parts.into_par_iter().for_each(|(cells, index, value)| {
            let mut places = index.iter_mut().zip(value);
            for j in cells {
                with_columns!(matrix, block => {
                    for ((i, x), (index, value)) in block.column(j).zip(&mut places) {
                        *index = i as u32;
                        *value = (x * scale) as f32;
                    }
                });
            }
        });
        Ok(())
    }

    /// The same with all entries.
    fn fill_all(&mut self, matrix: &Matrix<'_>, cells: Range<usize>, scale: f64) -> Result<()> {
        let features = matrix.rows();
        self.extent = Extent {
            cells: cells.len(),
            entries: cells.len() * features,
            features,
            dense: true,
        };
        let values = &mut self.value.values()?[..cells.len() * features];
        let columns = values.par_chunks_mut(features).zip(cells);
        columns.for_each(|(values, j)| {
            values.fill(0.0);
            with_columns!(matrix, block => {
                block.column(j).for_each(|(i, x)| values[i] = (x * scale) as f32);
            });
        });
        Ok(())
    }

    /// Copies to the device.
    pub fn copy(&mut self, queue: &Queue, to: &mut Chunk) -> Result<()> {
        let copied = self.copy_parts(queue, to);
        // Whatever is under way is waited for.
        queue.record(&self.copied)?;
        copied
    }

    fn copy_parts(&mut self, queue: &Queue, to: &mut Chunk) -> Result<()> {
        let Extent { cells, entries, .. } = self.extent;
        if let Some(compressed) = &mut to.compressed {
            queue.write_pinned(&mut self.start, cells + 1, &mut compressed.start)?;
            queue.write_pinned(&mut self.index, entries, &mut compressed.index)?;
        }
        to.extent = self.extent;
        queue.write_pinned(&mut self.value, entries, &mut to.value)
    }

    /// What comes next in a queue waits for the copy.
    pub fn hold(&self, queue: &Queue) -> Result<()> {
        queue.after(&self.copied)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Memory is not given back under a copy. A device that has failed copies nothing.
        let _ = wait_for(&self.copied);
    }
}

/// Makes the copies of chunks by feature.
pub struct Transposer {
    count: Kernel<Transpose>,
    before: Kernel<Transpose>,
    first: Kernel<Transpose>,
    place: Kernel<Transpose>,
    counts: Buffer<u32>,
}

impl Transposer {
    /// For chunks of at most this extent.
    pub fn new(queue: &Queue, most: Extent) -> Result<Self> {
        let kernel = |name| queue.gpu().kernel(COMMON, name);
        let counts = most.bytes_to_transpose() / size_of::<u32>();
        Ok(Transposer {
            count: kernel("count_entries")?,
            before: kernel("count_before")?,
            first: kernel("first_places")?,
            place: kernel("place_entries")?,
            counts: queue.room(counts, "the transposition of data")?,
        })
    }

    /// By feature what a chunk has by cell, if it is compressed.
    pub fn run(&mut self, queue: &Queue, chunk: &Chunk) -> Result<()> {
        if chunk.extent.dense {
            return Ok(());
        }
        let Extent {
            cells, features, ..
        } = chunk.extent;
        let groups = chunk.extent.groups() as u32;
        let by_feature = chunk.by_feature();
        let arguments = Transpose {
            cells: chunk.by_cell(),
            counts: self.counts.start(),
            start: by_feature.start,
            index: by_feature.index,
            value: by_feature.value,
            count: cells as u32,
            features: features as u32,
            groups,
        };
        queue.clear(&mut self.counts)?;
        let of_features = (features as u32).div_ceil(COMMON_THREADS);
        for (kernel, blocks) in [
            (&self.count, groups),
            (&self.before, of_features),
            (&self.first, 1),
            (&self.place, groups),
        ] {
            queue.launch(kernel, [blocks, 1], COMMON_THREADS, &arguments)?;
        }
        Ok(())
    }
}
