//! Entries that nobody knows.

/// Which entries are missing: they are in no sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// None; NaN is an error.
    #[default]
    None,
    /// Those that are NaN.
    Nan,
    /// Those that are NaN or zero, stored or not.
    Zeros,
}
