//! One JSON object a line.

use std::fmt::{Display, Formatter, Result, Write};

/// An object that grows.
pub struct Object(String);

impl Object {
    /// Says what it is about.
    pub fn new(what: &str) -> Self {
        Object(String::new()).text("what", what)
    }

    fn field(mut self, name: &str, value: impl Display) -> Self {
        let comma = if self.0.is_empty() { "" } else { ", " };
        write!(self.0, "{comma}\"{name}\": {value}").expect("a string takes all");
        self
    }

    /// A text without control characters.
    pub fn text(self, name: &str, value: &str) -> Self {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        self.field(name, format_args!("\"{escaped}\""))
    }

    pub fn number(self, name: &str, value: f64) -> Self {
        self.field(name, Number(value))
    }

    pub fn numbers(self, name: &str, values: &[f64]) -> Self {
        let all: Vec<String> = values.iter().map(|&v| Number(v).to_string()).collect();
        self.field(name, format_args!("[{}]", all.join(", ")))
    }
}

impl Display for Object {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{{{}}}", self.0)
    }
}

struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        // JSON has no infinity and no NaN.
        match self.0.is_finite() {
            true => write!(f, "{}", self.0),
            false => write!(f, "null"),
        }
    }
}
