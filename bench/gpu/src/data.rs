//! Counts with planted programs, drawn by all processors: the same for the same seed on any number of them.

use crate::Result;
use bcnmf_core::Matrix;
use bcnmf_core::matrix::Csc;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Distribution, Gamma, LogNormal, Poisson};
use rayon::prelude::*;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Programs, and those of them that a background doesn't have.
const PROGRAMS: usize = 16;
const TARGET_ONLY: usize = 2;
/// Cells that one task draws.
const CELLS: usize = 1024;

/// Features × cells by compressed columns.
pub struct Counts {
    features: usize,
    p: Vec<i32>,
    i: Vec<i32>,
    x: Vec<f64>,
}

impl Counts {
    pub fn cells(&self) -> usize {
        self.p.len() - 1
    }

    pub fn entries(&self) -> usize {
        self.x.len()
    }

    pub fn matrix(&self, what: &'static str) -> Result<Matrix<'_>> {
        let csc = Csc::new(self.features, self.cells(), &self.p, &self.i, &self.x, what)?;
        Ok(Matrix::Csc(csc))
    }

    /// Features, cells, entries; `p`, `i`, all as 32-bit integers; `x` in single precision.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let sizes = [self.features, self.cells(), self.entries()].map(|n| n as i32);
        for number in sizes.iter().chain(&self.p).chain(&self.i) {
            file.write_all(&number.to_le_bytes())?;
        }
        for x in &self.x {
            file.write_all(&(*x as f32).to_le_bytes())?;
        }
        Ok(file.flush()?)
    }
}

/// Numbers in single precision.
pub fn write_floats(path: &Path, values: impl Iterator<Item = f64>) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for value in values {
        file.write_all(&(value as f32).to_le_bytes())?;
    }
    Ok(file.flush()?)
}

/// Programs over features, from which cells are drawn.
pub struct Population {
    features: usize,
    /// What share of a program's counts each feature has.
    profiles: Vec<Vec<f64>>,
    draw: Vec<WeightedAliasIndex<f64>>,
    seed: u64,
    /// Mean counts of a cell.
    depth: f64,
}

impl Population {
    /// Of which about this share of the entries is not zero.
    pub fn new(features: usize, density: f64, seed: u64) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Features differ in abundance by orders of magnitude, as genes do of which the rarest were left out.
        let abundance: Vec<f64> = (LogNormal::new(0.0, 1.2)?.sample_iter(&mut rng))
            .map(|mean: f64| mean.max(0.2))
            .take(features)
            .collect();
        let lift = Gamma::new(0.5, 2.0)?;
        let profiles: Vec<Vec<f64>> = (0..PROGRAMS)
            .map(|_| {
                let profile: Vec<f64> = (abundance.iter())
                    .map(|mean| mean * (0.1 + lift.sample(&mut rng)))
                    .collect();
                let sum: f64 = profile.iter().sum();
                profile.into_iter().map(|share| share / sum).collect()
            })
            .collect();
        let draw = (profiles.iter())
            .map(|profile| WeightedAliasIndex::new(profile.clone()))
            .collect::<Result<_, _>>()?;
        let mut population = Population {
            features,
            profiles,
            draw,
            seed,
            depth: 1.0,
        };
        population.depth = population.depth_for(density);
        Ok(population)
    }

    /// The depth at which some cells have this density, by bisection of its logarithm.
    fn depth_for(&self, density: f64) -> f64 {
        let cells: Vec<Vec<f64>> = (0..32).map(|cell| self.rates(cell, PROGRAMS)).collect();
        let at = |depth: f64| {
            let rates = cells.iter().flatten();
            rates.map(|rate| -(-rate * depth).exp_m1()).sum::<f64>()
                / (cells.len() * self.features) as f64
        };
        let (mut low, mut high) = (0.0f64, 30.0f64);
        while high - low > 1e-6 {
            let middle = 0.5 * (low + high);
            if at(middle.exp()) < density {
                low = middle;
            } else {
                high = middle;
            }
        }
        low.exp()
    }

    /// Expected counts of a cell's features.
    fn rates(&self, cell: u64, programs: usize) -> Vec<f64> {
        let uses = self.uses(&mut self.stream(cell), programs);
        let rate = |i: usize| uses.iter().zip(&self.profiles).map(|(u, p)| u * p[i]).sum();
        (0..self.features).map(rate).collect()
    }

    /// The random numbers of a cell.
    fn stream(&self, cell: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(1 + cell);
        rng
    }

    /// A cell's expected counts of the first so many programs.
    fn uses(&self, rng: &mut ChaCha8Rng, programs: usize) -> Vec<f64> {
        let spread = LogNormal::new(-0.5 * 0.09, 0.3).expect("a law");
        let law = Gamma::new(0.3, 1.0).expect("a law");
        let depth = self.depth * spread.sample(rng);
        let uses: Vec<f64> = law.sample_iter(rng).take(programs).collect();
        let sum = uses.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        uses.into_iter().map(|u| depth * u / sum).collect()
    }

    /// These cells of the population, as target or as background.
    pub fn cells(&self, first: usize, number: usize, background: bool) -> Result<Counts> {
        let programs = PROGRAMS - if background { TARGET_ONLY } else { 0 };
        let parts: Vec<Counts> = (0..number.div_ceil(CELLS))
            .into_par_iter()
            .map(|part| {
                let (from, to) = (part * CELLS, ((part + 1) * CELLS).min(number));
                self.part((first + from) as u64..(first + to) as u64, programs)
            })
            .collect();
        let entries: usize = parts.iter().map(Counts::entries).sum();
        let total = i32::try_from(entries).map_err(|_| "more than 2147483647 entries")?;
        let mut all = Counts {
            features: self.features,
            p: Vec::with_capacity(number + 1),
            i: Vec::with_capacity(entries),
            x: Vec::with_capacity(entries),
        };
        for part in parts {
            let before = all.i.len() as i32;
            all.p
                .extend(part.p[..part.cells()].iter().map(|p| before + p));
            all.i.extend(part.i);
            all.x.extend(part.x);
        }
        all.p.push(total);
        Ok(all)
    }

    /// A program's counts are multinomial given their Poisson total: one draw a count instead of one an entry.
    fn part(&self, cells: std::ops::Range<u64>, programs: usize) -> Counts {
        let mut counts = Counts {
            features: self.features,
            p: vec![0],
            i: Vec::new(),
            x: Vec::new(),
        };
        let mut column = vec![0u32; self.features];
        for cell in cells {
            let mut rng = self.stream(cell);
            let uses = self.uses(&mut rng, programs);
            for (draw, mean) in self.draw.iter().zip(uses) {
                let total = Poisson::new(mean).map_or(0.0, |law| law.sample(&mut rng));
                for _ in 0..total as u64 {
                    column[draw.sample(&mut rng)] += 1;
                }
            }
            for (i, count) in column.iter_mut().enumerate().filter(|(_, c)| **c > 0) {
                counts.i.push(i as i32);
                counts.x.push(f64::from(std::mem::take(count)));
            }
            counts.p.push(counts.i.len() as i32);
        }
        counts
    }
}
