//! Time of a sweep, on a GPU or on CPU threads.

use crate::Result;
use crate::data::{Counts, Population, write_floats};
use crate::json::Object;
use crate::roofs::Roofs;
use crate::traffic::{MODEL, Sweep};
use bcnmf_core::backend::cuda::Gpu;
use bcnmf_core::backend::pool;
use bcnmf_core::fit::{FullBatch, Steps, uniform};
use bcnmf_core::{FitParams, LossKind, Problem, Start};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Objectives of so many models are printed, the start first.
const SHOWN: usize = 11;

/// Where sweeps run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Cuda,
    Cpu,
}

/// What is asked for. Every loss is combined with every number of factors and every choice of steps.
pub struct Asked {
    pub device: Device,
    pub features: usize,
    pub cells: usize,
    pub density: f64,
    /// Part of the cells that are the background.
    pub background: f64,
    /// Strength of the contrast.
    pub alpha: f64,
    pub factors: Vec<usize>,
    pub losses: Vec<(String, LossKind)>,
    /// Names of steps: `one` of each or `fast`, the package's default.
    pub steps: Vec<String>,
    /// Of fits on the CPU.
    pub threads: usize,
    /// At least so many are timed, for at least so long.
    pub sweeps: usize,
    pub seconds: f64,
    pub seed: u64,
    /// Size of the buffers that roofs are measured with.
    pub mib: usize,
    /// Where data and starts are written to.
    pub dump: Option<PathBuf>,
}

/// Prints a line for the roofs of a GPU, one for the data and one for each case.
pub fn run(asked: &Asked) -> Result<()> {
    let roofs = match asked.device {
        Device::Cuda => Some(Roofs::measure(asked.mib)?),
        Device::Cpu => None,
    };
    if let Some(roofs) = &roofs {
        println!("{}", roofs.to_json().text("traffic_model", MODEL));
    }
    let began = Instant::now();
    let background = (asked.cells as f64 * asked.background).round() as usize;
    let target = asked.cells.saturating_sub(background);
    let population = Population::new(asked.features, asked.density, asked.seed)?;
    let target = population.cells(0, target, false)?;
    let background = match background {
        0 => None,
        cells => Some(population.cells(target.cells(), cells, true)?),
    };
    let data = Data { target, background };
    println!(
        "{}",
        data.to_json(asked)
            .number("drawing_seconds", began.elapsed().as_secs_f64())
    );
    if let Some(folder) = &asked.dump {
        fs::create_dir_all(folder)?;
        data.target.write(&folder.join("target.bin"))?;
        if let Some(background) = &data.background {
            background.write(&folder.join("background.bin"))?;
        }
    }
    // A GPU's fits use all threads for what is left to the CPU.
    let threads = match asked.device {
        Device::Cuda => 0,
        Device::Cpu => asked.threads,
    };
    let pool = pool(threads)?;
    for &factors in &asked.factors {
        let start = Loadings::new(asked, factors);
        if let Some(folder) = &asked.dump {
            let path = folder.join(format!("w_{factors}.bin"));
            write_floats(&path, start.0.iter().copied())?;
        }
        for (name, loss) in &asked.losses {
            for steps in &asked.steps {
                let params = params(asked, factors, *loss, steps, &data);
                let case = pool.install(|| case(&data, &params, &start, asked, roofs.as_ref()))?;
                let threads = pool.current_num_threads() as f64;
                println!(
                    "{}",
                    case.text("loss", name)
                        .text("steps", steps)
                        .number("threads", threads)
                );
            }
        }
    }
    Ok(())
}

struct Data {
    target: Counts,
    background: Option<Counts>,
}

impl Data {
    fn cells(&self) -> usize {
        self.target.cells() + self.background.as_ref().map_or(0, Counts::cells)
    }

    fn entries(&self) -> usize {
        self.target.entries() + self.background.as_ref().map_or(0, Counts::entries)
    }

    fn to_json(&self, asked: &Asked) -> Object {
        Object::new("data")
            .number("features", asked.features as f64)
            .number("cells", self.cells() as f64)
            .number("target_cells", self.target.cells() as f64)
            .number("entries", self.entries() as f64)
            .number("alpha", asked.alpha)
    }

    fn problem(&self) -> Result<Problem<'_>> {
        let background = self.background.as_ref();
        let background = background.map(|counts| counts.matrix("background"));
        Ok(Problem::new(
            self.target.matrix("target")?,
            background.transpose()?,
        )?)
    }
}

/// Starting loadings, row by row; columns sum to 1. The core then spreads each cell's total evenly over the factors.
struct Loadings(Vec<f64>);

impl Loadings {
    fn new(asked: &Asked, factors: usize) -> Self {
        let mut w = uniform(asked.seed, asked.features * factors);
        for factor in 0..factors {
            let sum: f64 = w.iter().skip(factor).step_by(factors).sum();
            let column = w.iter_mut().skip(factor).step_by(factors);
            column.for_each(|w| *w /= sum);
        }
        Loadings(w)
    }

    /// Column by column.
    fn start(&self, factors: usize) -> Start {
        let columns = (0..factors).flat_map(|f| self.0.iter().skip(f).step_by(factors));
        Start::Loadings(columns.copied().collect())
    }
}

fn params(asked: &Asked, factors: usize, loss: LossKind, steps: &str, data: &Data) -> FitParams {
    FitParams {
        weight: match data.background {
            Some(_) => -asked.alpha,
            None => 0.0,
        },
        // It is the clock that ends it.
        maxit: u32::MAX as usize,
        tol: 0.0,
        steps: match steps {
            "fast" => Steps::fast(loss),
            _ => Steps::ONE,
        },
        ..FitParams::new(factors, loss)
    }
}

/// Times sweeps from the start.
fn case(
    data: &Data,
    params: &FitParams,
    start: &Loadings,
    asked: &Asked,
    roofs: Option<&Roofs>,
) -> Result<Object> {
    let problem = data.problem()?;
    let began = Instant::now();
    let problem = match asked.device {
        Device::Cuda => problem.on_device(Gpu::open(0)?, params, None)?,
        Device::Cpu => problem,
    };
    let upload = began.elapsed().as_secs_f64();
    let start = start.start(params.k);
    let mut fit = FullBatch::<f32>::new(Arc::new(problem), params.clone(), &start)?;
    let timed = time(&mut fit, asked)?;

    let objectives: Vec<f64> = fit.history().iter().map(|r| r.objective).collect();
    let last = objectives.len() - 1;
    let mut line = Object::new("sweep")
        .number("k", params.k as f64)
        .number("h_steps", params.steps.h as f64)
        .number("w_steps", params.steps.w as f64)
        .number("seconds", timed.median)
        .number("timed_sweeps", timed.sweeps as f64)
        .number("upload_seconds", upload)
        .number("began", timed.began)
        .number("ended", timed.ended)
        // Of the model after 0, 1, … sweeps.
        .numbers("objectives", &objectives[..objectives.len().min(SHOWN)])
        .number("last_sweep", last as f64)
        .number("last_objective", objectives[last]);
    if let Some(roofs) = roofs {
        let sweep = Sweep {
            features: asked.features as f64,
            cells: data.cells() as f64,
            entries: data.entries() as f64,
            factors: params.k as f64,
            steps: params.steps.h as f64,
            loss: params.loss,
            cache: roofs.cache as f64,
        };
        let rate = |amount: f64| amount / timed.median;
        line = line
            .number("traffic_compulsory", sweep.compulsory())
            .number("traffic_with_gathers", sweep.with_gathers())
            .number("gathered", sweep.gathered())
            .number("of_bandwidth", rate(sweep.compulsory()) / roofs.bandwidth())
            .number(
                "of_bandwidth_with_gathers",
                rate(sweep.with_gathers()) / roofs.bandwidth(),
            )
            .number("gathered_bytes_per_second", rate(sweep.gathered()))
            .number("flops", sweep.operations())
            .number("of_flops", rate(sweep.operations()) / roofs.operations);
    }
    Ok(line)
}

struct Timed {
    /// Seconds a sweep.
    median: f64,
    sweeps: usize,
    /// Seconds since 1970.
    began: f64,
    ended: f64,
}

/// After one sweep that does not count.
fn time(fit: &mut FullBatch<'_, f32>, asked: &Asked) -> Result<Timed> {
    // Without any time a GPU still gets a whole chunk, and the call that ends a sweep returns when its results are here, so
    // that sweeps are timed exactly. CPU threads need slices, and sweeps end somewhere in them.
    let slice = match asked.device {
        Device::Cuda => Duration::ZERO,
        Device::Cpu => Duration::from_millis(20),
    };
    advance(fit, slice)?;
    let began = seconds_since_1970();
    let first = Instant::now();
    let (mut samples, mut sweeps, mut last) = (Vec::new(), 0, first);
    while sweeps < asked.sweeps || first.elapsed().as_secs_f64() < asked.seconds {
        let done = advance(fit, slice)?;
        let now = Instant::now();
        samples.push((now - last).as_secs_f64() / done as f64);
        sweeps += done;
        last = now;
    }
    samples.sort_by(f64::total_cmp);
    Ok(Timed {
        median: samples[samples.len() / 2],
        sweeps,
        began,
        ended: seconds_since_1970(),
    })
}

/// Goes on until one more sweep has ended, and says how many have.
fn advance(fit: &mut FullBatch<'_, f32>, slice: Duration) -> Result<usize> {
    let before = fit.history().len();
    while fit.history().len() == before {
        let done = fit.advance(Instant::now() + slice);
        if let Some(mishap) = fit.mishap() {
            return Err(mishap.clone().into());
        }
        if done {
            return Err("the fit left the finite numbers".into());
        }
    }
    Ok(fit.history().len() - before)
}

fn seconds_since_1970() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(f64::NAN, |since| since.as_secs_f64())
}
