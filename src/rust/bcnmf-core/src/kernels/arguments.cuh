// What the kernels are given, field by field as in `backend/cuda/kernels.rs`. A kernel takes one structure by value.
//
// Items are cells or features; an item's vector has `stride` numbers, zeros after the first k. Pointers that may be null say so.
#ifndef BCNMF_ARGUMENTS
#define BCNMF_ARGUMENTS

typedef unsigned int u32;

// Compressed items: those of item i are start[i] to start[i + 1] (from 0 for the first), by increasing index.
struct Entries {
  const u32 *start;
  const u32 *index;
  const float *value;
};

// What rates and divergences hang on besides the factors.
struct Rates {
  const float *feature_weight; // null: 1
  const float *cell_weight;    // null: 1
  const float *profile;        // of the ambient rate, by feature; null: there is none
  const float *ambient;        // its multiple, by cell; null: there is none
  const float *size;           // of features, nb; infinite for Poisson features
  const float *feature_odds;   // logarithms of the odds of dropout, zinb; null: features have none
  const float *cell_odds;      // null: cells have none
  const unsigned char *certain; // features of which nothing is lost though others' counts are; null: none
  float unit;                  // what counts and sizes were divided by
  float guard;                 // added to rates that data are divided by
};

// H steps of the cells of a chunk.
struct CellStep {
  struct Entries cells;
  struct Rates rates;
  const float *dense;  // cells × features, where data are not compressed; else null
  const float *pull;   // cells × stride, squared errors of such data: Wᵀx …
  const double *squares; // … and xᵀx
  const float *w;      // features × stride
  const float *h;      // cells × stride
  float *h_next;
  const float *shared; // Wᵀ1 (of Poisson features with nb), or WᵀW for squared errors
  const float *down;   // reciprocal size factors, by cell; null: 1
  const float *zeros;  // parts × cells × stride, nb: what zeros have for the denominators
  const double *lost;  // parts × cells, nb where cells have odds: how many entries would be lost if all were zeros
  float *odds_next;    // of cells that have odds
  unsigned char *moves; // nb: whether a cell's steps go on
  double *sums;        // blocks × 3, added to: divergence and penalty before the steps, and excess (see `loss/rising.rs`)
  double entries;      // of a cell, that can be lost, each as often as its feature counts
  double prior;        // of a cell's odds: the penalty is this times −log(1 − π)
  float ambient_sum;   // of the profile, each feature times its weight
  float l1;
  float l2;
  float floor;
  float tolerance;
  u32 count;           // cells
  u32 features;
  u32 k;
  u32 stride;
  u32 lanes;           // that share a vector: stride / KP
  u32 parts;           // of zeros and lost
  u32 steps;
  u32 measures;        // whether divergence and penalty are wanted
  u32 again;           // nb: whether steps were taken before, and `moves` says of which cells they go on
  u32 moves_odds;
};

// Numerators of W from the entries of a chunk.
struct FeatureSums {
  struct Entries features; // by feature: cells of the chunk
  struct Rates rates;
  const float *dense; // cells × features, where data are not compressed; else null
  const float *w;
  const float *h;
  float *numerator;   // parts × features × stride, added to
  float *own;         // the same, nb: denominators
  double *slopes;     // parts × features × 6, for derivatives by size and odds, added to
                      // (first and second by size, then what `WStats::dropout` has)
  u32 count;          // features
  u32 cells;
  u32 stride;
  u32 lanes;
  u32 parts;
};

// What the features with a finite size have if all entries are zeros.
struct Zeros {
  struct Rates rates;
  const u32 *dispersed; // features with a finite size
  const float *w;       // their rows
  const float *h;       // cells × stride
  float *shares;        // H steps: parts × cells × stride, written; W steps: parts × all features × stride, added to
  double *lost;         // H steps of cells that have odds: parts × cells, written: how many entries are lost
  double *slopes;       // W steps: parts × all features × 6, added to; null: not wanted
  double *sums;         // H steps: blocks × 3, added to: divergence
  const unsigned char *moves; // H steps: cells of which none goes on are left out; null: all go on
  u32 cells;
  u32 features;         // with a finite size
  u32 all;              // features
  u32 stride;
  u32 lanes;
  u32 parts;            // of what is added up: features in H steps, cells in W steps
  u32 measures;
};

// Sums over all cells for the denominators of W.
struct Totals {
  const float *h;           // cells × stride
  const float *cell_weight; // null: 1
  double *sums;             // blocks × stride, or blocks × stride², added to
  u32 cells;
  u32 stride;
};

// What the cells of a set have for W.
struct Gathered {
  const float *numerator;    // parts × features × stride; null: there is no such set
  const double *denominator; // stride, or stride² for squared errors
  const float *size;         // of features, nb; null: they have none
  const float *own;          // own_parts × features × stride: denominators of features with a finite size
};

// A W step of all features.
struct WStep {
  struct Gathered sets[2]; // target and background
  const float *w;          // features × stride
  float *w_next;
  double weight; // of the background, signed
  double l1;
  double l2;
  double guard;
  double floor;
  double ceiling;
  u32 features;
  u32 k;
  u32 stride;
  u32 parts;
  u32 own_parts;
  u32 quadratic; // whether the denominators are Gram matrices: then several steps are passes of coordinate descent
  u32 steps;
};

// Adds up the first of `parts` times `count` numbers to the last, in order.
struct SumParts {
  const double *parts;
  double *sum;
  size_t count;
  u32 number;
};

// Multiplies the factors of all cells by `scale`, and sets `flag` to 1 where a value is beyond `most` or no number.
struct Scale {
  float *h;
  const float *scale; // stride
  u32 *flag;
  size_t count;       // of values
  float most;
  u32 stride;
};

// Cells to features: a copy of a chunk by feature, with the cells of each in order.
struct Transpose {
  struct Entries cells;
  u32 *counts;   // groups × features
  u32 *start;    // features + 1
  u32 *index;
  float *value;
  u32 count;     // cells
  u32 features;
  u32 groups;    // of consecutive cells
};

#endif
