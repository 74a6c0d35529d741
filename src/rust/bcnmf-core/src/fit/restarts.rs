//! Several starts of the same fit; the one with the best objective is kept.

use super::{
    Driver, Factors, FitParams, FullBatch, HeldOut, Model, Problem, Progress, Record, Start,
};
use crate::real::Real;
use crate::width::padded;
use crate::{Error, Result};
use rayon::ThreadPool;
use rayon::prelude::*;
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How one start ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Which start, from 0.
    pub start: usize,
    /// One record a sweep, the start first. Of a start that was stopped, the last sweep is missing.
    pub history: Vec<Record>,
    /// Complete sweeps.
    pub iterations: usize,
    /// Stopped because W changed by less than `tol`.
    pub converged: bool,
    /// Stopped because numbers left the finite range.
    pub failed: bool,
    /// Loss of target and background on entries that were held out.
    pub held_out: Option<[HeldOut; 2]>,
    /// Dead or duplicate factors that were started anew.
    pub revived: usize,
    /// What a device failed at, after which CPU threads went on.
    pub mishap: Option<Error>,
}

impl Outcome {
    /// The last evaluated objective; NaN when there is none.
    pub fn objective(&self) -> f64 {
        self.history
            .last()
            .map_or(f64::NAN, |record| record.objective)
    }

    fn is_sound(&self) -> bool {
        !self.failed && !self.objective().is_nan()
    }

    /// Less is better; of equals the earlier start, whichever ended first.
    fn compare(&self, other: &Outcome) -> Ordering {
        other
            .is_sound()
            .cmp(&self.is_sound())
            .then(self.objective().total_cmp(&other.objective()))
            .then(self.start.cmp(&other.start))
    }
}

/// Fits from several starts, as many at the same time as there are threads and memory for. Where they
/// are fewer than the threads, each uses several. No fit's bits depend on it.
pub struct Restarts<'a, T> {
    problem: Arc<Problem<'a>>,
    params: FitParams,
    starts: Vec<Start>,
    pool: ThreadPool,
    /// So many starts, the first ones, are in work or ended.
    begun: usize,
    lanes: Vec<Lane<'a, T>>,
    ended: Ended,
}

/// Fits one start after the other, while other lanes fit others.
struct Lane<'a, T> {
    work: Option<Work<'a, T>>,
    /// What ended since lanes were last gathered.
    ended: Ended,
}

struct Work<'a, T> {
    start: usize,
    fit: FullBatch<'a, T>,
}

impl<'a, T: Real> Restarts<'a, T> {
    /// Sets up the first fits and checks all starts.
    ///
    /// # Errors
    /// No start; parameters or starting values out of range.
    pub fn new(
        problem: Arc<Problem<'a>>,
        params: FitParams,
        starts: Vec<Start>,
        pool: ThreadPool,
    ) -> Result<Self> {
        if starts.is_empty() {
            let (name, value, range) = ("starts", "empty".into(), "at least one".into());
            return Err(Error::Parameter { name, value, range });
        }
        let room = lanes_in_memory::<T>(&problem, params.k);
        let most = starts.len().min(pool.current_num_threads()).min(room);
        let mut lanes = Vec::new();
        // The last first: a bad one is found before any work, and the first ones are kept.
        for (start, from) in starts.iter().enumerate().rev() {
            // Those that begin later are only checked: that takes no device.
            let device = problem.device.as_ref().filter(|_| start < most);
            let fit = FullBatch::on(device, problem.clone(), params.clone(), from)?;
            if start < most {
                lanes.push(Lane {
                    work: Some(Work { start, fit }),
                    ended: Ended::default(),
                });
            }
        }
        lanes.reverse();
        Ok(Restarts {
            problem,
            params,
            starts,
            pool,
            begun: lanes.len(),
            lanes,
            ended: Ended::default(),
        })
    }

    /// How the starts ended that have, by start.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.ended.outcomes
    }

    /// The best start among those that ended.
    pub fn best(&self) -> Option<usize> {
        self.ended.best.as_ref().map(|best| best.start)
    }

    /// Gives up the sweeps in work and all further starts. The starts in work end as they were after
    /// their last complete sweep, and are chosen from only when no other came to its own end.
    pub fn stop(&mut self) {
        let came_to_an_end = self.ended.outcomes.iter().any(Outcome::is_sound);
        for lane in self.lanes.drain(..) {
            match lane.work {
                Some(work) if came_to_an_end => self.ended.list(work.outcome()),
                Some(work) => self.ended.add(&work),
                None => {}
            }
        }
        self.starts.truncate(self.begun);
    }

    /// The factors of the best start that ended; before the first has, of the best one in work.
    pub fn factors(&self) -> Factors {
        self.kept().factors
    }

    /// The sizes of its features with nb, of target and background where these differ; empty with other losses.
    pub fn sizes(&self) -> Vec<Vec<f64>> {
        self.kept().sizes
    }

    /// Its probabilities of dropout with zinb: see [`FullBatch::dropout`].
    pub fn dropout(&self) -> Vec<Vec<f64>> {
        self.kept().dropout
    }

    fn kept(&self) -> Kept {
        let in_work = || {
            let work = self.lanes.iter().filter_map(|lane| lane.work.as_ref());
            work.min_by(|a, b| a.outcome().compare(&b.outcome()))
                .map_or_else(Kept::default, Work::keep)
        };
        let best = self.ended.best.as_ref();
        best.map_or_else(in_work, Kept::clone)
    }

    /// [`Restarts::factors`] as a model.
    pub fn model(&self) -> Model {
        let FitParams {
            k, k_target, hold, ..
        } = self.params;
        Model::new(&self.factors(), k, k_target, hold)
    }

    fn progress(&self) -> Progress {
        let in_work = || self.lanes.iter().filter_map(|lane| lane.work.as_ref());
        let sweeps: f64 = in_work()
            .map(|work| work.fit.iteration() as f64 + work.fit.fraction())
            .sum();
        let finished = self.ended.outcomes.len();
        let share = finished as f64 + sweeps / (self.params.maxit + 1) as f64;
        let first = in_work().min_by_key(|work| work.start);
        let last = first.and_then(|work| work.fit.history().last());
        Progress {
            finished,
            starts: self.starts.len(),
            share: share / self.starts.len().max(1) as f64,
            iteration: first.map_or(0, |work| work.fit.iteration()),
            objective: last.map_or(f64::NAN, |record| record.objective),
            change: last.map_or(f64::NAN, |record| record.change),
            done: first.is_none() && self.begun == self.starts.len(),
        }
    }
}

impl<T: Real> Driver for Restarts<'_, T> {
    fn advance(&mut self, budget: Duration) -> Progress {
        let deadline = Instant::now() + budget;
        let begun = AtomicUsize::new(self.begun);
        let (problem, params, starts) = (&self.problem, &self.params, &self.starts);
        let next = || {
            let start = begun.fetch_add(1, Relaxed);
            // Every start was set up once in `new`, so this cannot fail.
            let fit = FullBatch::new(problem.clone(), params.clone(), starts.get(start)?).ok()?;
            Some(Work { start, fit })
        };
        let lanes = &mut self.lanes;
        self.pool.install(|| {
            lanes
                .par_iter_mut()
                .with_max_len(1)
                .for_each(|lane| lane.advance(next, deadline));
        });
        self.begun = begun.into_inner().min(self.starts.len());
        for lane in &mut self.lanes {
            self.ended.append(std::mem::take(&mut lane.ended));
        }
        self.progress()
    }
}

impl<'a, T: Real> Lane<'a, T> {
    /// Works until the deadline or until there is no next start; always at least a little.
    fn advance(&mut self, next: impl Fn() -> Option<Work<'a, T>>, deadline: Instant) {
        while let Some(mut work) = self.work.take().or_else(&next) {
            if !work.fit.advance(deadline) {
                self.work = Some(work);
                break;
            }
            self.ended.add(&work);
            if Instant::now() >= deadline {
                break;
            }
        }
    }
}

impl<T: Real> Work<'_, T> {
    fn keep(&self) -> Kept {
        Kept {
            start: self.start,
            factors: self.fit.factors(),
            sizes: self.fit.sizes(),
            dropout: self.fit.dropout(),
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            start: self.start,
            history: self.fit.history().to_vec(),
            iterations: self.fit.iteration(),
            converged: self.fit.converged(),
            failed: self.fit.failed(),
            held_out: self.fit.held_out(),
            revived: self.fit.revived(),
            mishap: self.fit.mishap().cloned(),
        }
    }
}

/// Starts that ended, and the factors of the best of them.
#[derive(Default)]
struct Ended {
    /// By start.
    outcomes: Vec<Outcome>,
    best: Option<Kept>,
}

/// What is kept of a start.
#[derive(Clone, Default)]
struct Kept {
    start: usize,
    factors: Factors,
    sizes: Vec<Vec<f64>>,
    dropout: Vec<Vec<f64>>,
}

impl Ended {
    fn best(&self) -> Option<&Outcome> {
        let best = self.best.as_ref()?;
        self.outcomes
            .iter()
            .find(|outcome| outcome.start == best.start)
    }

    fn is_beaten_by(&self, outcome: &Outcome) -> bool {
        self.best().is_none_or(|best| outcome.compare(best).is_lt())
    }

    fn add<T: Real>(&mut self, work: &Work<'_, T>) {
        let outcome = work.outcome();
        if self.is_beaten_by(&outcome) {
            self.best = Some(work.keep());
        }
        self.list(outcome);
    }

    fn list(&mut self, outcome: Outcome) {
        let at = self.outcomes.partition_point(|o| o.start < outcome.start);
        self.outcomes.insert(at, outcome);
    }

    fn append(&mut self, other: Ended) {
        if other.best().is_some_and(|best| self.is_beaten_by(best)) {
            self.best = other.best;
        }
        other.outcomes.into_iter().for_each(|o| self.list(o));
    }
}

/// How many fits may be in memory at the same time: at least one, and no more than fill half of what the
/// data fill, or 512 MB where that is little; on a device, what is free beside the data.
fn lanes_in_memory<T: Real>(problem: &Problem<'_>, k: usize) -> usize {
    if let Some(device) = &problem.device {
        return device.fits;
    }
    const LITTLE: usize = 512 << 20;
    let sets = || problem.sets().into_iter().flatten();
    let data: usize = sets().map(|set| set.stored() * size_of::<f64>()).sum();
    // Items of k values: W and H twice, and the record of each stripe.
    let items: usize = sets()
        .map(|set| 2 * set.columns() + set.stripes().len() * set.rows())
        .sum();
    let fit = (items + 2 * problem.target.rows()) * padded::<T>(k) * size_of::<T>();
    (LITTLE.max(data / 2) / fit.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;
    use crate::matrix::Dense;
    use ndarray::{Array2, ShapeBuilder};

    #[test]
    fn memory_limits_the_lanes() {
        let x = Array2::<f64>::ones((2000, 300).f());
        let target = || Matrix::Dense(Dense::new(x.view()).expect("column-major"));
        let problem = Problem::new(target(), None).expect("valid");
        // 4 stripes: (600 + 4 · 2000 + 2 · 2000) · 304 · 8 bytes.
        let fit = 12600 * 304 * 8;
        assert_eq!(problem.target.stripes().len(), 4);
        assert_eq!(lanes_in_memory::<f64>(&problem, 300), (512 << 20) / fit);
        assert!(lanes_in_memory::<f32>(&problem, 5) > 1000);
    }

    #[test]
    fn a_tie_goes_to_the_earlier_start_whichever_ended_first() {
        let ended = |start, objective, failed| {
            let history = vec![Record {
                iteration: 0,
                target: objective,
                background: f64::NAN,
                objective,
                change: f64::NAN,
            }];
            let outcome = Outcome {
                start,
                history,
                iterations: 0,
                converged: false,
                failed,
                held_out: None,
                revived: 0,
                mishap: None,
            };
            Ended {
                outcomes: vec![outcome],
                best: Some(Kept {
                    start,
                    ..Kept::default()
                }),
            }
        };
        let parts = [
            (4, 1.0, false),
            (2, 1.0, false),
            (0, -5.0, true),
            (1, f64::NAN, false),
            (3, 2.0, false),
        ];
        for turn in 0..parts.len() {
            let mut all = Ended::default();
            for at in 0..parts.len() {
                let (start, objective, failed) = parts[(at + turn) % parts.len()];
                all.append(ended(start, objective, failed));
            }
            assert_eq!(all.best().map(|best| best.start), Some(2));
            let order: Vec<usize> = all.outcomes.iter().map(|o| o.start).collect();
            assert_eq!(order, [0, 1, 2, 3, 4]);
        }
    }
}
