//! Several starts of the same fit; the one with the best objective is kept.

use super::{
    Driver, Factors, FitParams, FullBatch, HeldOut, Model, Problem, Progress, Record, Start,
};
use crate::real::Real;
use crate::{Error, Result};
use rayon::ThreadPool;
use std::sync::Arc;
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
}

impl Outcome {
    /// The last evaluated objective; NaN when there is none.
    pub fn objective(&self) -> f64 {
        self.history
            .last()
            .map_or(f64::NAN, |record| record.objective)
    }
}

/// Fits from each start in turn, all threads on one.
pub struct Restarts<'a, T> {
    problem: Arc<Problem<'a>>,
    params: FitParams,
    starts: Vec<Start>,
    pool: ThreadPool,
    current: Option<FullBatch<'a, T>>,
    outcomes: Vec<Outcome>,
    best: Option<(usize, Factors)>,
}

impl<'a, T: Real> Restarts<'a, T> {
    /// Sets up the first fit and checks all starts.
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
        let mut restarts = Restarts {
            problem,
            params,
            starts,
            pool,
            current: None,
            outcomes: Vec::new(),
            best: None,
        };
        // The last first: a bad one is found before any work, and the first is left as current.
        for start in restarts.starts.iter().rev() {
            restarts.current = None;
            let (problem, params) = (restarts.problem.clone(), restarts.params.clone());
            restarts.current = Some(FullBatch::new(problem, params, start)?);
        }
        Ok(restarts)
    }

    /// How the finished starts ended.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Index of the best start among the finished ones.
    pub fn best(&self) -> Option<usize> {
        self.best.as_ref().map(|(start, _)| *start)
    }

    /// Gives up the sweep in work and all further starts. The start in work ends as it was after its
    /// last complete sweep.
    pub fn stop(&mut self) {
        if let Some(fit) = self.current.take() {
            self.finish(&fit);
        }
        self.starts.truncate(self.outcomes.len());
    }

    /// The factors of the best finished start; before the first is finished, those in work.
    pub fn factors(&self) -> Factors {
        match (&self.best, &self.current) {
            (Some((_, factors)), _) => factors.clone(),
            (None, Some(fit)) => fit.factors(),
            (None, None) => Factors::default(),
        }
    }

    /// [`Restarts::factors`] as a model.
    pub fn model(&self) -> Model {
        Model::new(&self.factors(), self.params.k, self.params.k_target)
    }

    fn finish(&mut self, fit: &FullBatch<'a, T>) {
        let outcome = Outcome {
            start: self.outcomes.len(),
            history: fit.history().to_vec(),
            iterations: fit.iteration(),
            converged: fit.converged(),
            failed: fit.failed(),
            held_out: fit.held_out(),
        };
        let better = match self.best {
            None => true,
            Some((best, _)) => {
                let best = &self.outcomes[best];
                let rank = |o: &Outcome| (o.failed || o.objective().is_nan(), o.objective());
                rank(&outcome) < rank(best)
            }
        };
        if better {
            self.best = Some((outcome.start, fit.factors()));
        }
        self.outcomes.push(outcome);
    }

    fn next_fit(&mut self) {
        // Every start was set up once in `new`, so this cannot fail.
        self.current = self.starts.get(self.outcomes.len()).and_then(|start| {
            FullBatch::new(self.problem.clone(), self.params.clone(), start).ok()
        });
    }
}

impl<T: Real> Driver for Restarts<'_, T> {
    fn advance(&mut self, budget: Duration) -> Progress {
        let deadline = Instant::now() + budget;
        while let Some(mut fit) = self.current.take() {
            if !self.pool.install(|| fit.advance(deadline)) {
                self.current = Some(fit);
                break;
            }
            self.finish(&fit);
            self.next_fit();
            if Instant::now() >= deadline {
                break;
            }
        }
        let (iteration, fraction) = self
            .current
            .as_ref()
            .map_or((0, 0.0), |fit| (fit.iteration(), fit.fraction()));
        let last = self.current.as_ref().and_then(|fit| fit.history().last());
        Progress {
            start: self.outcomes.len(),
            starts: self.starts.len(),
            iteration,
            fraction,
            objective: last.map_or(f64::NAN, |record| record.objective),
            change: last.map_or(f64::NAN, |record| record.change),
            done: self.current.is_none(),
        }
    }
}
