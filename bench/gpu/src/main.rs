//! Sweeps of bcnmf-core on a GPU against its measured roofs. README.md beside this crate says how to use it.

mod data;
mod json;
mod roofs;
mod sweeps;
mod traffic;

use bcnmf_core::LossKind;
use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::str::FromStr;
use sweeps::{Asked, Device};

const HELP: &str = "\
bcnmf-gpu-bench roofs [--mib 2048]
    what the first GPU copies and reads in a second, with buffers of so many MiB, and how much it computes
bcnmf-gpu-bench sweeps --cells N [...]
    time of a sweep on drawn counts, for every loss, number of factors and choice of steps
    --device cuda        or cpu
    --features 3000
    --density 0.08       part of the entries that is not zero, about
    --background 0.33    part of the cells that is the background
    --alpha 0.2          strength of the contrast
    --k 20,64
    --loss poisson,mse
    --steps one,fast     one step of H and of W in a sweep, as published; the package's default
    --threads 2          of fits on the CPU
    --sweeps 2           at least so many are timed,
    --seconds 3          for at least so long
    --seed 1
    --dump DIR           where data and starts are written to, for another program
    --mib 2048           as for roofs
Each line of output is a JSON object.";

/// What goes wrong is told the user, wherever it comes from.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// `--name value` pairs.
struct Arguments(HashMap<String, String>);

impl Arguments {
    fn read(given: &[String]) -> Result<Self, String> {
        let mut all = HashMap::new();
        for pair in given.chunks(2) {
            match pair {
                [name, value] if name.starts_with("--") => {
                    all.insert(name[2..].to_owned(), value.clone())
                }
                _ => return Err(format!("cannot read the argument {}; see --help", pair[0])),
            };
        }
        Ok(Arguments(all))
    }

    fn text(&mut self, name: &str, default: &str) -> String {
        self.0.remove(name).unwrap_or_else(|| default.into())
    }

    fn value<T: FromStr>(&mut self, name: &str, default: &str) -> Result<T, String> {
        parse(name, &self.text(name, default))
    }

    fn list(&mut self, name: &str, default: &str) -> Vec<String> {
        let text = self.text(name, default);
        text.split(',').map(str::to_owned).collect()
    }

    fn end(self) -> Result<(), String> {
        match self.0.keys().next() {
            Some(name) => Err(format!("there is no argument --{name}; see --help")),
            None => Ok(()),
        }
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    let wrong = |_| format!("--{name} can't be {text:?}; see --help");
    text.parse().map_err(wrong)
}

/// A value of a few that have names.
fn one_of<T: Copy>(name: &str, text: &str, values: &[(&str, T)]) -> Result<T, String> {
    let found = values.iter().find(|(known, _)| *known == text);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("--{name} can't be {text:?}; see --help"))
}

fn asked(mut given: Arguments) -> Result<Asked, String> {
    const LOSSES: [(&str, LossKind); 2] = [("poisson", LossKind::Poisson), ("mse", LossKind::Mse)];
    let device = [("cuda", Device::Cuda), ("cpu", Device::Cpu)];
    let asked = Asked {
        device: one_of("device", &given.text("device", "cuda"), &device)?,
        features: given.value("features", "3000")?,
        cells: given.value("cells", "")?,
        density: given.value("density", "0.08")?,
        background: given.value("background", "0.33")?,
        alpha: given.value("alpha", "0.2")?,
        factors: (given.list("k", "20,64").iter())
            .map(|k| parse("k", k))
            .collect::<Result<_, _>>()?,
        losses: (given.list("loss", "poisson,mse").into_iter())
            .map(|loss| one_of("loss", &loss, &LOSSES).map(|kind| (loss, kind)))
            .collect::<Result<_, _>>()?,
        steps: (given.list("steps", "one,fast").into_iter())
            .map(|steps| one_of("steps", &steps, &[("one", ()), ("fast", ())]).map(|()| steps))
            .collect::<Result<_, _>>()?,
        threads: given.value("threads", "2")?,
        sweeps: given.value("sweeps", "2")?,
        seconds: given.value("seconds", "3")?,
        seed: given.value("seed", "1")?,
        mib: given.value("mib", "2048")?,
        dump: given.0.remove("dump").map(Into::into),
    };
    given.end()?;
    Ok(asked)
}

fn run(arguments: &[String]) -> Result<()> {
    let (command, rest) = match arguments {
        [command, rest @ ..] if !rest.iter().any(|a| a == "--help") => (command.as_str(), rest),
        _ => ("--help", &[][..]),
    };
    match command {
        "roofs" => {
            let mut given = Arguments::read(rest)?;
            let mib = given.value("mib", "2048")?;
            given.end()?;
            println!("{}", roofs::Roofs::measure(mib)?.to_json());
            Ok(())
        }
        "sweeps" => sweeps::run(&asked(Arguments::read(rest)?)?),
        "--help" => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(format!("there is no command {other}; see --help").into()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bcnmf-gpu-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
