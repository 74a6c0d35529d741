//! The kernels by name, and what they are given: `kernels/arguments.cuh`, field by field.

use miniz_oxide::inflate::decompress_to_vec;

/// An address on the device; 0 for none.
pub type Address = u64;

/// A kernel that takes an argument of this type.
pub trait Arguments: Copy {}

macro_rules! arguments {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name { $(pub $field: $type,)* }
    )*};
}

arguments! {
    /// Compressed items.
    Entries {
        start: Address,
        index: Address,
        value: Address,
    }
    /// What rates and divergences hang on besides the factors.
    Rates {
        feature_weight: Address,
        cell_weight: Address,
        profile: Address,
        ambient: Address,
        size: Address,
        feature_odds: Address,
        cell_odds: Address,
        certain: Address,
        unit: f32,
        guard: f32,
    }
    /// H steps of the cells of a chunk.
    CellStep {
        cells: Entries,
        rates: Rates,
        dense: Address,
        pull: Address,
        squares: Address,
        w: Address,
        h: Address,
        h_next: Address,
        shared: Address,
        down: Address,
        zeros: Address,
        lost: Address,
        odds_next: Address,
        moves: Address,
        sums: Address,
        entries: f64,
        prior: f64,
        ambient_sum: f32,
        l1: f32,
        l2: f32,
        floor: f32,
        tolerance: f32,
        count: u32,
        features: u32,
        k: u32,
        stride: u32,
        lanes: u32,
        parts: u32,
        steps: u32,
        measures: u32,
        again: u32,
        moves_odds: u32,
    }
    /// Numerators of W from the entries of a chunk.
    FeatureSums {
        features: Entries,
        rates: Rates,
        dense: Address,
        w: Address,
        h: Address,
        numerator: Address,
        own: Address,
        slopes: Address,
        count: u32,
        cells: u32,
        stride: u32,
        lanes: u32,
        parts: u32,
    }
    /// What the features with a finite size have if all entries are zeros.
    Zeros {
        rates: Rates,
        dispersed: Address,
        w: Address,
        h: Address,
        shares: Address,
        lost: Address,
        slopes: Address,
        sums: Address,
        moves: Address,
        cells: u32,
        features: u32,
        all: u32,
        stride: u32,
        lanes: u32,
        parts: u32,
        measures: u32,
    }
    /// Sums over all cells for the denominators of W.
    Totals {
        h: Address,
        cell_weight: Address,
        sums: Address,
        cells: u32,
        stride: u32,
    }
    /// What the cells of a set have for W.
    Gathered {
        numerator: Address,
        denominator: Address,
        size: Address,
        own: Address,
    }
    /// A W step of all features.
    WStep {
        sets: [Gathered; 2],
        w: Address,
        w_next: Address,
        weight: f64,
        l1: f64,
        l2: f64,
        guard: f64,
        floor: f64,
        ceiling: f64,
        features: u32,
        k: u32,
        stride: u32,
        parts: u32,
        own_parts: u32,
        quadratic: u32,
        steps: u32,
    }
    /// Sums of parts.
    SumParts {
        parts: Address,
        sum: Address,
        count: u64,
        number: u32,
    }
    /// Multiplies factors, and looks whether they are in range.
    Scale {
        h: Address,
        scale: Address,
        flag: Address,
        count: u64,
        most: f32,
        stride: u32,
    }
    /// Cells to features.
    Transpose {
        cells: Entries,
        counts: Address,
        start: Address,
        index: Address,
        value: Address,
        count: u32,
        features: u32,
        groups: u32,
    }
}

macro_rules! kernels {
    ($($type:ident)*) => {$(impl Arguments for $type {})*};
}
kernels!(CellStep FeatureSums Zeros Totals WStep SumParts Scale Transpose);

/// Threads of a block, in sources for one number of factors and `loadings.cu`, and in the others.
pub const FACTOR_THREADS: u32 = 128;
pub const COMMON_THREADS: u32 = 256;

macro_rules! module {
    ($($name:expr),*) => {
        Module {
            name: concat!($($name),*),
            ptx: include_bytes!(concat!(env!("OUT_DIR"), "/", $($name),*, ".ptx.deflate")),
        }
    };
}

/// Kernels for any number of factors.
pub const COMMON: Module = module!("common");

/// A compiled source.
#[derive(Clone, Copy)]
pub struct Module {
    pub name: &'static str,
    /// Compressed, as the same text in one and a half megabytes would be most of the library.
    ptx: &'static [u8],
}

impl Module {
    /// PTX of this source.
    pub fn ptx(&self) -> String {
        let text = decompress_to_vec(self.ptx).expect("what build.rs has compressed");
        String::from_utf8(text).expect("PTX is text")
    }
}

/// The kernel for W steps, for any number of factors.
pub const LOADINGS: Module = module!("loadings");

/// Kernels for the sizes of features, for any number of factors.
pub const SIZES: Module = module!("sizes");

/// Kernels for one number of factors that a thread holds.
#[derive(Clone, Copy)]
struct Width {
    held: usize,
    factors: Module,
    dense: Module,
    dispersed: Module,
}

macro_rules! widths {
    ($($held:literal)*) => {[$(Width {
        held: $held,
        factors: module!("factors_", $held),
        dense: module!("dense_", $held),
        dispersed: module!("dispersed_", $held),
    },)*]};
}

/// With one, two or four threads a vector: for 12, 20, 24, 32, 40, 48, 64, 80 and 128 factors.
const WIDTHS: [Width; 3] = widths!(12 20 32);

/// How vectors of factors lie on the device.
#[derive(Clone, Copy)]
pub struct Layout {
    pub k: usize,
    /// Threads that share a vector.
    pub lanes: usize,
    width: Width,
}

impl Layout {
    /// The one with the least padding for so many factors, at most [`super::MOST_FACTORS`].
    pub fn new(k: usize) -> Self {
        let of = |lanes: usize| {
            let width = WIDTHS.into_iter().find(|width| width.held * lanes >= k);
            width.map(|width| Layout { k, lanes, width })
        };
        let all = [1, 2, 4].into_iter().filter_map(of);
        // Among equals that with the fewest lanes, which comes first.
        all.min_by_key(Layout::stride).expect("at most 128 factors")
    }

    /// Numbers of a vector.
    pub fn stride(&self) -> usize {
        self.width.held * self.lanes
    }

    /// A kernel of this width for counts without sizes and squared errors.
    pub fn factors(&self, kernel: &str) -> (Module, String) {
        (self.width.factors, format!("{kernel}_{}", self.width.held))
    }

    /// The same for data that are not compressed.
    pub fn dense(&self, kernel: &str) -> (Module, String) {
        (self.width.dense, format!("{kernel}_{}", self.width.held))
    }

    /// A kernel of this width for counts with sizes.
    pub fn dispersed(&self, kernel: &str) -> (Module, String) {
        (
            self.width.dispersed,
            format!("{kernel}_{}", self.width.held),
        )
    }

    /// Vectors with `from` numbers each as they lie on the device.
    pub fn spread(&self, vectors: &[f32], from: usize) -> Vec<f32> {
        repack(vectors, from, self.stride(), self.k)
    }

    /// The other way round.
    pub fn gather(&self, vectors: &[f32], to: usize) -> Vec<f32> {
        repack(vectors, self.stride(), to, self.k)
    }
}

fn repack(vectors: &[f32], from: usize, to: usize, k: usize) -> Vec<f32> {
    let mut out = vec![0.0; vectors.len() / from * to];
    let items = out.chunks_exact_mut(to).zip(vectors.chunks_exact(from));
    items.for_each(|(out, v)| out[..k].copy_from_slice(&v[..k]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_factors_has_a_layout() {
        for k in 1..=super::super::MOST_FACTORS {
            let layout = Layout::new(k);
            assert!(layout.stride() >= k && layout.stride() <= super::super::MOST_FACTORS);
            assert!(k < 9 || 5 * layout.stride() <= 8 * k, "{k}");
        }
        for (k, held, lanes) in [(20, 20, 1), (24, 12, 2), (64, 32, 2), (100, 32, 4)] {
            let layout = Layout::new(k);
            assert_eq!((layout.width.held, layout.lanes), (held, lanes));
        }
    }

    /// Bytes of the structure that an entry of the PTX takes.
    fn parameter(ptx: &str, kernel: &str) -> usize {
        let entry = ptx
            .find(&format!(".entry {kernel}("))
            .expect("a kernel of that name");
        let rest = &ptx[entry..];
        let open = rest.find("_param_0[").expect("a structure") + "_param_0[".len();
        let close = rest[open..].find(']').expect("its size");
        rest[open..open + close].parse().expect("a number")
    }

    #[test]
    fn arguments_are_as_large_as_the_kernels_take() {
        for k in [12, 20, 32] {
            let layout = Layout::new(k);
            for ((module, name), size) in [
                (layout.factors("cell_step_mse"), size_of::<CellStep>()),
                (layout.factors("cell_step_poisson"), size_of::<CellStep>()),
                (layout.factors("feature_sums_mse"), size_of::<FeatureSums>()),
                (
                    layout.factors("feature_sums_poisson"),
                    size_of::<FeatureSums>(),
                ),
                (layout.dense("cell_pull_mse"), size_of::<CellStep>()),
                (
                    layout.dense("cell_step_dense_poisson"),
                    size_of::<CellStep>(),
                ),
                (layout.dense("feature_tiles_mse"), size_of::<FeatureSums>()),
                (
                    layout.dense("feature_tiles_poisson"),
                    size_of::<FeatureSums>(),
                ),
                (layout.dispersed("cell_step_nb"), size_of::<CellStep>()),
                (layout.dispersed("cell_zeros"), size_of::<Zeros>()),
                (layout.dispersed("feature_zeros"), size_of::<Zeros>()),
                (
                    layout.dispersed("feature_sums_nb"),
                    size_of::<FeatureSums>(),
                ),
            ] {
                assert_eq!(parameter(&module.ptx(), &name), size, "{name}");
            }
        }
        for (kernel, size) in [
            ("entry_slopes", size_of::<FeatureSums>()),
            ("entry_excess", size_of::<CellStep>()),
        ] {
            assert_eq!(parameter(&SIZES.ptx(), kernel), size, "{kernel}");
        }
        assert_eq!(parameter(&LOADINGS.ptx(), "w_step"), size_of::<WStep>());
        for (kernel, size) in [
            ("count_entries", size_of::<Transpose>()),
            ("count_before", size_of::<Transpose>()),
            ("first_places", size_of::<Transpose>()),
            ("place_entries", size_of::<Transpose>()),
            ("total_h", size_of::<Totals>()),
            ("gram_h", size_of::<Totals>()),
            ("sum_parts", size_of::<SumParts>()),
            ("scale_h", size_of::<Scale>()),
        ] {
            assert_eq!(parameter(&COMMON.ptx(), kernel), size, "{kernel}");
        }
    }
}
