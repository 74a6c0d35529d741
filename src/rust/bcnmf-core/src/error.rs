//! What can go wrong, in words a user can act on.

/// An error of this crate. The texts count rows and columns from 1, as the users of the package do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A matrix without rows or columns.
    #[error("{what} has {rows} rows and {columns} columns; at least one of each is needed")]
    Empty {
        /// Which matrix.
        what: &'static str,
        /// Its number of rows.
        rows: usize,
        /// Its number of columns.
        columns: usize,
    },
    /// Values that no loss can take.
    #[error(
        "{what} must not hold {kind} values, but {count} {} found, the first at row {row}, column {column} ({}){}",
        if *count == 1 { "was" } else { "were" },
        number(*value),
        if value.is_nan() { "; mask = \"NA\" leaves missing values out of all sums" } else { "" }
    )]
    BadValue {
        /// Which matrix.
        what: &'static str,
        /// "missing", "infinite", "negative" …
        kind: &'static str,
        /// How many there are.
        count: usize,
        /// Row of the first, from 1.
        row: usize,
        /// Column of the first, from 1.
        column: usize,
        /// The first such value.
        value: f64,
    },
    /// Slots of a sparse matrix that contradict each other.
    #[error("{what} is not a valid sparse matrix: {why}")]
    CorruptSparse {
        /// Which matrix.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A sparse matrix beyond what its pointers can count.
    #[error(
        "the chosen features and cells hold more than 2147483647 values, the most that a sparse matrix in R can hold; take fewer of them"
    )]
    TooManyValues,
    /// Nothing to factorise.
    #[error(
        "{what} has no positive value{}",
        if *missing { " among the entries that the mask leaves" } else { "" }
    )]
    AllZero {
        /// Which matrix.
        what: &'static str,
        /// Whether it lacks entries.
        missing: bool,
    },
    /// Magnitudes whose squares, or, with dispersions, whose sums with these leave the precision.
    #[error(
        "{what} has a largest value of {}; rescale the data to values between 1e-100 and {}",
        number(*max),
        number(*most)
    )]
    Magnitude {
        /// Which matrix.
        what: &'static str,
        /// Its largest value.
        max: f64,
        /// The largest that would do.
        most: f64,
    },
    /// Two shapes that should agree.
    #[error("{what} is {got_rows} x {got_columns}, but {rows} x {columns} is needed")]
    Shape {
        /// Which matrix.
        what: &'static str,
        /// Rows given.
        got_rows: usize,
        /// Columns given.
        got_columns: usize,
        /// Rows needed.
        rows: usize,
        /// Columns needed.
        columns: usize,
    },
    /// A parameter outside its range.
    #[error("{name} is {value}, but it must be {range}")]
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// The value given.
        value: String,
        /// The values allowed.
        range: String,
    },
    /// The arithmetic left the finite numbers; the model before that sweep is kept.
    #[error(
        "the fit left the finite numbers in sweep {sweep}; use double precision or a smaller contrast"
    )]
    NotFinite {
        /// The sweep, from 1.
        sweep: usize,
    },
    /// A device can't be used, or not for this.
    #[error("the GPU cannot be used: {why}")]
    Device {
        /// The reason.
        why: String,
    },
    /// A device has no room.
    #[error(
        "the GPU has no room for {what} ({} MB, of which {} MB are free)",
        needed >> 20,
        free >> 20
    )]
    DeviceMemory {
        /// For what.
        what: &'static str,
        /// Bytes.
        needed: usize,
        /// Bytes.
        free: usize,
    },
    /// The machine has no room.
    #[error(
        "there is no memory for {what} ({} MB in all): take fewer factors, features or cells",
        needed >> 20
    )]
    Memory {
        /// For what.
        what: &'static str,
        /// Bytes.
        needed: usize,
    },
    /// The operating system refused threads.
    #[error("cannot start {threads} threads: {why}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The system's words.
        why: String,
    },
}

/// Asks for the memory that is going to be needed, and gives it back: where it is asked for without a question, no room for it ends the process.
///
/// # Errors
/// If there is none.
pub(crate) fn check_memory(what: &'static str, bytes: f64) -> crate::Result<()> {
    /// With less than that to spare no fit gets far.
    const LITTLE: f64 = (1 << 28) as f64;
    if bytes < LITTLE {
        return Ok(());
    }
    let needed = bytes as usize;
    Vec::<u8>::new()
        .try_reserve_exact(needed)
        .map_err(|_| Error::Memory { what, needed })
}

/// A number as R would show it: in scientific notation where it would be all zeros, and the NaN that is R's `NA` as such.
pub(crate) fn number(value: f64) -> String {
    // R keeps 1954 in the lower half of the bits.
    const NA: u32 = 1954;
    if value.is_nan() {
        let kind = if value.to_bits() as u32 == NA {
            "NA"
        } else {
            "NaN"
        };
        kind.into()
    } else if value.is_infinite() {
        if value > 0.0 { "Inf" } else { "-Inf" }.into()
    } else if value == 0.0 || (1e-5..1e15).contains(&value.abs()) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_memory_than_there_is_is_an_error() {
        assert!(check_memory("nothing", 0.0).is_ok());
        assert!(check_memory("a model", 1e6).is_ok());
        for bytes in [1e17, 1e30] {
            let error = check_memory("a model", bytes).expect_err("no machine has that");
            assert!(error.to_string().contains("no memory for a model"));
        }
    }

    #[test]
    fn numbers_are_short_and_in_words_of_r() {
        for (value, shown) in [
            (0.0, "0"),
            (-1.0, "-1"),
            (0.25, "0.25"),
            (123456.0, "123456"),
            (5e-324, "5e-324"),
            (-1e300, "-1e300"),
            (f64::INFINITY, "Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (f64::from_bits(0x7FF0_0000_0000_07A2), "NA"),
            (f64::from_bits(0x7FF8_0000_0000_07A2), "NA"),
        ] {
            assert_eq!(number(value), shown);
        }
    }
}
