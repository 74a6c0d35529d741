# Size factors: what a cell's coefficients are multiplied by in its fitted values, so that coefficients of cells of different depth compare.

size_factor_texts <- "\"library\", positive numbers, one a cell, or a list of these for `target` and `background`"

# The size factors of target and background, each NULL for 1, and the target's mean total that those of "library" are relative to.
check_size_factors <- function(size_factors, x, y, arg, call) {
  none <- list(target = NULL, background = NULL, reference = NULL)
  if (is.null(size_factors)) return(none)
  if (identical(size_factors, "library")) {
    totals <- list(target = cell_totals(x, arg, call), background = if (!is.null(y)) cell_totals(y, "background", call))
    none$reference <- mean(totals$target)
    none[c("target", "background")] <- lapply(totals, library_factors, none$reference)
    return(none)
  }
  if (!is.list(size_factors)) size_factors <- list(target = size_factors)
  unknown <- setdiff(rlang::names2(size_factors), c("target", "background"))
  if (length(unknown) || anyDuplicated(names(size_factors)) || is.data.frame(size_factors)) refuse(size_factors, size_factor_texts, "size_factors", call)
  if (!is.null(y) && !setequal(names(size_factors), c("target", "background"))) {
    abort_bcnmf(c(
      "{.arg size_factors} must be given for both sets, or for neither.",
      i = "A list of {.field target} and {.field background}: only on one scale do their coefficients compare."
    ), arg = "size_factors", call = call)
  }
  if (is.null(y) && "background" %in% names(size_factors)) {
    abort_bcnmf("{.arg size_factors} has a {.field background}, but the data have none.", arg = "size_factors", value = "background", call = call)
  }
  none$target <- check_factors_of(size_factors$target, x, call)
  if (!is.null(y)) none["background"] <- list(check_factors_of(size_factors$background, y, call))
  none
}

check_factors_of <- function(size_factors, x, call) {
  n <- ncol(x)
  ok <- is.numeric(size_factors) && is.null(dim(size_factors)) && length(size_factors) == n && all(is.finite(size_factors)) && all(size_factors > 0)
  if (!ok) refuse(size_factors, sprintf("%s (%d of them)", size_factor_texts, n), "size_factors", call)
  check_item_names(size_factors, colnames(x), "size_factors", call)
  as.double(size_factors)
}

# The sum of every cell, completed where entries are missing.
cell_totals <- function(x, arg, call) look_at_data(x, NULL, fit_settings(k = 1, loss = "mse", threads = 1, seed = 1), call, arg)$cell_total

# An empty cell has no size, and any will do.
library_factors <- function(totals, reference) ifelse(totals > 0, totals / reference, 1)

# A set with its size factors.
scale_data <- function(x, size_factors) {
  set <- data_parts(x)
  bcnmf_data(set$matrix, set$missing, set$features, set$cells, size_factors, set$losses)
}

# What a model remembers of them.
size_factor_record <- function(size_factors) {
  if (is.null(size_factors$target)) return(NULL)
  list(size_factors = Filter(Negate(is.null), size_factors))
}

# As bcnmf() takes them, for a fit that goes on: those of "library" anew, as the cells may be other ones.
inherited_size_factors <- function(fit) {
  had <- fit@misc$size_factors
  if (is.null(had) || is.null(had$reference)) had else "library"
}

# The size factors of new cells for a model that has some.
new_size_factors <- function(fit, size_factors, x, call) {
  had <- fit@misc$size_factors
  if (identical(size_factors, "library") && !is.null(had) && is.null(had$reference)) {
    abort_bcnmf("The model's size factors were numbers: {.code size_factors = \"library\"} would be on another scale.", arg = "size_factors", call = call)
  }
  if (is.null(size_factors) && !is.null(had) && is.null(had$reference)) {
    abort_bcnmf(c("{.arg size_factors} is missing: the model was fitted with numbers.", i = "Give those of the new cells."), arg = "size_factors", call = call)
  }
  if (is.null(size_factors) && is.null(had)) return(NULL)
  if (is.null(size_factors) || identical(size_factors, "library")) {
    totals <- cell_totals(x, "newdata", call)
    return(library_factors(totals, if (is.null(had)) mean(totals) else had$reference))
  }
  check_factors_of(size_factors, x, call)
}

# Anything x cells of a part of a set, each cell times its size factor.
times_size <- function(x, fit, set, cells = NULL) {
  size_factors <- fit@misc$size_factors[[set]]
  if (is.null(size_factors)) return(x)
  x * rep(if (is.null(cells)) size_factors else size_factors[cells], each = nrow(x))
}
