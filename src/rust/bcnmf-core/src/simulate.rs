//! Target and background counts with planted programs.

use crate::error::{check_memory, number};
use crate::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Distribution, Gamma, LogNormal, Poisson};
use std::time::{Duration, Instant};

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// Number of features.
    pub features: usize,
    /// Number of target cells.
    pub target: usize,
    /// Number of background cells.
    pub background: usize,
    /// Programs used by target and background.
    pub k_shared: usize,
    /// Programs used by the target alone.
    pub k_target: usize,
    /// Expected part of a target cell's counts that comes from target-only programs, 0 to 1.
    pub share: f64,
    /// Mean counts of a cell.
    pub depth: f64,
    /// Standard deviation of the log of a cell's depth.
    pub depth_sd: f64,
    /// Shape of the Gamma law of loadings: small is sparse.
    pub loading_shape: f64,
    /// Shape of the Gamma law of a cell's use of programs: small means one program a cell.
    pub use_shape: f64,
    /// Seed of the generator.
    pub seed: u64,
}

/// Counts by compressed columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Start of each column, then the end.
    pub p: Vec<i32>,
    /// Features, from 0, increasing within a column.
    pub i: Vec<i32>,
    /// Counts.
    pub x: Vec<f64>,
}

/// Simulated data and the truth behind them: the expectation of a set is `w · h`.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// Features × target cells.
    pub target: Counts,
    /// Features × background cells.
    pub background: Counts,
    /// Features × programs, column by column, columns sum to 1; target-only programs last.
    pub w: Vec<f64>,
    /// Programs × target cells, column by column: expected counts.
    pub h: Vec<f64>,
    /// Programs × background cells; zero for target-only programs.
    pub h_background: Vec<f64>,
}

impl Simulation {
    /// All of it at once.
    ///
    /// # Errors
    /// As [`Simulator::new`] and [`Simulator::advance`].
    pub fn run(&self) -> Result<Simulated> {
        let mut simulator = Simulator::new(self.clone())?;
        while !simulator.advance(Duration::MAX)? {}
        Ok(simulator.into_result())
    }

    /// Expected counts of each program in one cell.
    fn expected_use(&self, rng: &mut ChaCha8Rng, share: f64) -> Result<Vec<f64>> {
        // The mean of the log-normal is exp(sd²/2); divided out so that `depth` is the mean.
        let spread = LogNormal::new(-0.5 * self.depth_sd.powi(2), self.depth_sd)
            .map_err(|e| out("depth_sd", self.depth_sd, &e.to_string()))?;
        let depth = self.depth * spread.sample(rng);
        let law = gamma(self.use_shape)?;
        let mut cell: Vec<f64> = law.sample_iter(rng).take(self.k()).collect();
        let (shared, own) = cell.split_at_mut(self.k_shared);
        normalise(shared);
        normalise(own);
        shared.iter_mut().for_each(|u| *u *= depth * (1.0 - share));
        own.iter_mut().for_each(|u| *u *= depth * share);
        Ok(cell)
    }

    fn k(&self) -> usize {
        self.k_shared + self.k_target
    }

    fn check(&self) -> Result<()> {
        let sizes = [
            ("n_features", self.features),
            ("n_target", self.target),
            ("k_shared + k_target", self.k()),
        ];
        for (name, size) in sizes {
            if size == 0 || size > i32::MAX as usize {
                return Err(out(name, size as f64, "between 1 and 2^31 - 1"));
            }
        }
        if self.background > 0 && self.k_shared == 0 {
            return Err(out(
                "k_shared",
                0.0,
                "at least 1 when there is a background",
            ));
        }
        if !(0.0..=1.0).contains(&self.share) {
            return Err(out("share", self.share, "between 0 and 1"));
        }
        for (name, value) in [
            ("depth", self.depth),
            ("loading_shape", self.loading_shape),
            ("use_shape", self.use_shape),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(out(name, value, "positive and finite"));
            }
        }
        // Every count is a draw: beyond these a call would hardly come back.
        if self.depth > 1e8 {
            return Err(out("depth", self.depth, "at most 1e8"));
        }
        if !(0.0..=3.0).contains(&self.depth_sd) {
            return Err(out("depth_sd", self.depth_sd, "between 0 and 3"));
        }
        Ok(())
    }
}

fn out(name: &'static str, value: f64, range: &str) -> Error {
    Error::Parameter {
        name,
        value: number(value),
        range: range.into(),
    }
}

fn gamma(shape: f64) -> Result<Gamma<f64>> {
    Gamma::new(shape, 1.0).map_err(|e| out("shape", shape, &e.to_string()))
}

/// Scales to sum 1; all zeros (a tiny shape can underflow) become uniform.
fn normalise(values: &mut [f64]) {
    let sum: f64 = values.iter().sum();
    let n = values.len() as f64;
    values
        .iter_mut()
        .for_each(|v| *v = if sum > 0.0 { *v / sum } else { 1.0 / n });
}

/// A simulation in progress: loadings, then cell by cell depth, use and counts. Each cell has a stream of its own,
/// so cell `j` does not depend on how many there are.
///
/// The counts of a program in a cell are multinomial given their Poisson total, which is the
/// same as independent Poisson counts and costs one draw a count instead of one an entry.
pub struct Simulator {
    asked: Simulation,
    /// Target-only programs' part of a target cell's counts.
    share: f64,
    rng: ChaCha8Rng,
    /// What features are drawn from, one table a program.
    genes: Vec<WeightedAliasIndex<f64>>,
    /// Cells that are complete, and the one in work.
    cells: usize,
    cell: Option<Cell>,
    /// Counts of the cell in work.
    column: Vec<u32>,
    result: Simulated,
}

/// A cell in work.
struct Cell {
    /// Expected counts of each program.
    mean: Vec<f64>,
    /// Programs whose totals are drawn, and counts that the last of them lacks.
    programs: usize,
    left: u64,
}

/// Counts that are drawn before the clock is looked at again.
const DRAWS: u64 = 1 << 16;

impl Simulator {
    /// # Errors
    /// A size of zero, a share outside 0 to 1, a depth or shape that is not positive, or more memory than there is.
    pub fn new(asked: Simulation) -> Result<Self> {
        asked.check()?;
        // Loadings, tables to draw from, coefficients.
        let numbers = 4.0 * asked.features as f64 + (asked.target + asked.background) as f64;
        let bytes = numbers * asked.k() as f64 * size_of::<f64>() as f64;
        check_memory("the simulated programs", bytes)?;
        let share = if asked.k_target == 0 {
            0.0
        } else {
            asked.share
        };
        let empty = Counts {
            p: vec![0],
            ..Counts::default()
        };
        Ok(Self {
            share: if asked.k_shared == 0 { 1.0 } else { share },
            rng: ChaCha8Rng::seed_from_u64(asked.seed),
            genes: Vec::new(),
            cells: 0,
            cell: None,
            column: vec![0; asked.features],
            result: Simulated {
                target: empty.clone(),
                background: empty,
                w: Vec::new(),
                h: Vec::new(),
                h_background: Vec::new(),
            },
            asked,
        })
    }

    /// Works for about this long; true when all is done. Never longer than the budget by more than one program's
    /// loadings or some ten thousand counts.
    ///
    /// # Errors
    /// Loadings or depths that cannot be drawn from, or more than 2³¹ − 1 values.
    pub fn advance(&mut self, budget: Duration) -> Result<bool> {
        let start = Instant::now();
        loop {
            if self.genes.len() < self.asked.k() {
                self.program()?;
            } else if self.cells < self.asked.target + self.asked.background {
                self.some_counts()?;
            } else {
                return Ok(true);
            }
            if start.elapsed() >= budget {
                return Ok(false);
            }
        }
    }

    /// The data, once [`Simulator::advance`] said that all is done.
    #[must_use]
    pub fn into_result(self) -> Simulated {
        self.result
    }

    /// One more program's loadings, and the table to draw from them.
    fn program(&mut self) -> Result<()> {
        let shape = self.asked.loading_shape;
        let mut w: Vec<f64> = gamma(shape)?
            .sample_iter(&mut self.rng)
            .take(self.asked.features)
            .collect();
        normalise(&mut w);
        self.result.w.extend(&w);
        let table = WeightedAliasIndex::new(w);
        self.genes
            .push(table.map_err(|e| out("loading_shape", shape, &e.to_string()))?);
        Ok(())
    }

    /// Goes on with the cell in work, or with the next.
    fn some_counts(&mut self) -> Result<()> {
        let mut cell = match self.cell.take() {
            Some(cell) => cell,
            None => self.next_cell()?,
        };
        let mut draws = DRAWS;
        loop {
            let now = cell.left.min(draws);
            if let Some(last) = cell.programs.checked_sub(1) {
                for _ in 0..now {
                    self.column[self.genes[last].sample(&mut self.rng)] += 1;
                }
            }
            cell.left -= now;
            draws -= now;
            if draws == 0 {
                self.cell = Some(cell);
                return Ok(());
            }
            let Some(&mean) = cell.mean.get(cell.programs) else {
                return self.finish(cell);
            };
            cell.programs += 1;
            if mean > 0.0 {
                let total = Poisson::new(mean).map_err(|e| out("depth", mean, &e.to_string()))?;
                cell.left = total.sample(&mut self.rng) as u64;
            }
        }
    }

    fn next_cell(&mut self) -> Result<Cell> {
        let (j, first_stream, share) = match self.cells.checked_sub(self.asked.target) {
            None => (self.cells, 1, self.share),
            Some(j) => (j, 2, 0.0),
        };
        self.rng.set_stream(first_stream + 2 * j as u64);
        self.rng.set_word_pos(0);
        Ok(Cell {
            mean: self.asked.expected_use(&mut self.rng, share)?,
            programs: 0,
            left: 0,
        })
    }

    /// Keeps a cell whose counts are all drawn.
    fn finish(&mut self, cell: Cell) -> Result<()> {
        let result = &mut self.result;
        let (counts, h) = if self.cells < self.asked.target {
            (&mut result.target, &mut result.h)
        } else {
            (&mut result.background, &mut result.h_background)
        };
        h.extend(cell.mean);
        for (i, count) in self.column.iter_mut().enumerate() {
            if *count > 0 {
                counts.i.push(i as i32);
                counts.x.push(f64::from(*count));
                *count = 0;
            }
        }
        let end = i32::try_from(counts.x.len())
            .map_err(|_| out("depth", self.asked.depth, "fewer than 2^31 values in all"))?;
        counts.p.push(end);
        self.cells += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Simulation {
        Simulation {
            features: 50,
            target: 400,
            background: 300,
            k_shared: 3,
            k_target: 2,
            share: 0.25,
            depth: 200.0,
            depth_sd: 0.3,
            loading_shape: 0.3,
            use_shape: 0.5,
            seed: 1,
        }
    }

    #[test]
    fn totals_and_shares_are_as_asked() {
        let sim = small().run().expect("valid");
        let depth = sim.target.x.iter().sum::<f64>() / 400.0;
        assert!((depth / 200.0 - 1.0).abs() < 0.06, "{depth}");
        let own: f64 = sim.h.chunks_exact(5).map(|cell| cell[3] + cell[4]).sum();
        assert!((own / sim.h.iter().sum::<f64>() - 0.25).abs() < 1e-12);
        assert!(
            sim.h_background
                .chunks_exact(5)
                .all(|cell| cell[3..] == [0.0, 0.0])
        );
        assert_eq!(sim.target.p.len(), 401);
        assert!(
            sim.w
                .chunks_exact(50)
                .all(|w| (w.iter().sum::<f64>() - 1.0).abs() < 1e-12)
        );
    }

    #[test]
    fn a_cell_does_not_depend_on_the_number_of_cells() {
        let few = Simulation {
            target: 10,
            ..small()
        }
        .run()
        .expect("valid");
        let many = small().run().expect("valid");
        assert_eq!(few.target.x[..], many.target.x[..few.target.x.len()]);
        assert_eq!(few.background, many.background);
    }

    #[test]
    fn slices_make_no_difference() {
        let deep = Simulation {
            target: 3,
            background: 2,
            depth: 3.0 * DRAWS as f64,
            ..small()
        };
        for asked in [small(), deep] {
            let whole = asked.run().expect("valid");
            let mut simulator = Simulator::new(asked.clone()).expect("valid");
            let mut slices = 1;
            while !simulator.advance(Duration::ZERO).expect("valid") {
                slices += 1;
            }
            assert!(slices > asked.k() + asked.target + asked.background);
            assert_eq!(simulator.into_result(), whole);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            Simulation {
                features: 0,
                ..small()
            },
            Simulation {
                target: 0,
                ..small()
            },
            Simulation {
                k_shared: 0,
                ..small()
            },
            Simulation {
                share: 1.5,
                ..small()
            },
            Simulation {
                depth: -1.0,
                ..small()
            },
            Simulation {
                use_shape: f64::NAN,
                ..small()
            },
            Simulation {
                depth: 1e300,
                ..small()
            },
            Simulation {
                depth_sd: 100.0,
                ..small()
            },
            Simulation {
                depth_sd: f64::NAN,
                ..small()
            },
        ] {
            assert!(bad.run().is_err(), "{bad:?}");
        }
    }
}
