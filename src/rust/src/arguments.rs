//! A named list from R, read with errors instead of panics.

use crate::{Result, refuse};
use bcnmf_core::LossKind;
use bcnmf_core::fit::{Dropout, Penalty, Per};
use extendr_api::prelude::*;

/// Arguments that the R code has checked already; what is wrong here is a defect there.
pub(crate) struct Arguments(pub List);

impl Arguments {
    pub fn get(&self, name: &str) -> Result<Robj> {
        self.0
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .ok_or_else(|| refuse(format!("internal argument {name} is missing")))
    }

    pub fn number(&self, name: &str) -> Result<f64> {
        match self.numbers(name)?[..] {
            [value] => Ok(value),
            _ => Err(refuse(format!(
                "internal argument {name} is not one number"
            ))),
        }
    }

    pub fn count(&self, name: &str) -> Result<usize> {
        let value = self.number(name)?;
        if (0.0..9e15).contains(&value) {
            Ok(value as usize)
        } else {
            Err(refuse(format!("{name} is {value}, but it must be a count")))
        }
    }

    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let value = self.get(name)?;
        let integers = || {
            value
                .as_integer_slice()
                .map(|v| v.iter().copied().map(f64::from).collect())
        };
        value
            .as_real_vector()
            .or_else(integers)
            .ok_or_else(|| refuse(format!("internal argument {name} is not numeric")))
    }

    pub fn text(&self, name: &str) -> Result<String> {
        let value = self.get(name)?;
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| refuse(format!("internal argument {name} is not a string")))
    }

    pub fn loss(&self) -> Result<LossKind> {
        LossKind::from_name(&self.text("loss")?).map_err(refuse)
    }

    /// `zi`: what has a probability of dropout; `dropout` and `dropout_background`: where these start, or empty.
    pub fn dropout(&self) -> Result<Dropout> {
        let per = match self.text("zi")?.as_str() {
            "feature" => Per::Feature,
            "cell" => Per::Cell,
            other => return Err(refuse(format!("internal argument zi is {other}"))),
        };
        Ok(Dropout {
            per,
            fixed: false,
            probability: [
                self.numbers("dropout")?,
                self.numbers("dropout_background")?,
            ],
        })
    }

    /// Penalties on w and h from the pairs `L1` and `L2`.
    pub fn penalties(&self) -> Result<(Penalty, Penalty)> {
        let (l1, l2) = (self.numbers("L1")?, self.numbers("L2")?);
        match (&l1[..], &l2[..]) {
            (&[w1, h1], &[w2, h2]) => Ok((Penalty { l1: w1, l2: w2 }, Penalty { l1: h1, l2: h2 })),
            _ => Err(refuse("L1 and L2 need one value for w and one for h")),
        }
    }
}
