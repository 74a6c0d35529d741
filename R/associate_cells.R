# Which cells associate() tests, and what is known of each: its group, sample and covariates.

check_test_takes <- function(test, covariates, sample_by, call) {
  if (test == "rank" && !is.null(covariates)) {
    abort_bcnmf("The rank test takes no {.arg covariates}: use {.code test = \"logistic\"} or {.code test = \"pseudobulk\"}.",
      arg = "covariates", value = covariates, call = call
    )
  }
  if (test != "pseudobulk" && !is.null(sample_by)) {
    abort_bcnmf(c(
      "{.code test = \"{test}\"} takes no {.arg sample_by}: it counts every cell as an independent observation.",
      i = "Use {.code test = \"pseudobulk\"}, which compares samples."
    ), arg = "sample_by", value = sample_by, call = call)
  }
  if (test == "pseudobulk") {
    if (is.null(sample_by)) {
      abort_bcnmf("{.code test = \"pseudobulk\"} needs {.arg sample_by}, the sample of each cell.",
        arg = "sample_by", value = sample_by, call = call
      )
    }
    need_limma(rlang::is_installed("limma"), call)
  }
}

need_limma <- function(installed, call = rlang::caller_env()) {
  if (installed) return(invisible())
  abort_bcnmf(c(
    "{.code test = \"pseudobulk\"} needs the package limma, which is not installed.",
    i = "Install it from Bioconductor: {.code BiocManager::install(\"limma\")}."
  ), arg = "test", value = "pseudobulk", call = call)
}

# A list: `index` among the target's, then the background's cells, and for each of these `background` (is it
# one?), `groups`, `samples` and `covariates`. Cells that lack any of them are left out.
tested_cells <- function(fit, groups, covariates, sample_by, set, call) {
  background <- cell_sets(fit) == "background"
  once <- if (is.null(groups)) "background" else "target"
  if (is.null(groups)) {
    groups <- target_against_background(fit, set, call)
  }
  labels <- cell_labels(fit, groups, set, "groups", call)
  takes_part <- labels$given & !counted_twice(fit, labels$given, background, once)
  # what is not labelled needs neither samples nor covariates
  set <- if (!any(takes_part & background)) "target" else if (all(background[takes_part])) "background" else set
  keep <- leave_out(takes_part, is.na(labels$label), "label")
  samples <- NULL
  if (!is.null(sample_by)) {
    by_sample <- cell_labels(fit, sample_by, set, "sample_by", call)
    check_all_sampled(takes_part & !by_sample$given, background, sample_by, call)
    samples <- by_sample$label
    keep <- leave_out(keep, is.na(samples), "sample")
  }
  if (!is.null(covariates)) {
    covariates <- cell_covariates(fit, covariates, background, set, call)
    keep <- leave_out(keep, !stats::complete.cases(covariates), "value of every covariate")
    covariates <- covariates[keep, , drop = FALSE]
  }
  groups <- droplevels(labels$label[keep])
  if (nlevels(groups) < 2) {
    abort_bcnmf(c(
      "{.arg groups} must give at least two groups of cells to compare.",
      x = if (nlevels(groups) == 1) "All {sum(keep)} are {.val {levels(groups)}}." else "There is none."
    ), arg = "groups", value = levels(groups), call = call)
  }
  list(
    index = which(keep), background = background[keep], groups = groups, samples = samples[keep],
    covariates = covariates
  )
}

# The copies not in `set` of an object's cells that take part in both sets, saying how many there are.
counted_twice <- function(fit, takes_part, background, set) {
  if (is.null(fit@misc$source)) return(rep(FALSE, length(background)))
  names <- cell_names(fit)
  stays <- background == (set == "background")
  twice <- takes_part & !stays & names %in% names[takes_part & stays]
  if (any(twice)) cli::cli_inform("{sum(twice)} cell{?s} of both sets {?is/are} counted once, in the {set}.")
  twice
}

target_against_background <- function(fit, set, call) {
  check_has_background(fit, "Testing target against background", "groups", NULL, call)
  if (set != "both") {
    abort_bcnmf("{.code set = \"{set}\"} needs {.arg groups}: without them target and background are compared.",
      arg = "set", value = set, call = call
    )
  }
  factor(cell_sets(fit), levels = c("background", "target"))
}

# For the target's, then the background's cells: `label`, a factor with NA for missing ones, and `given`, does the
# cell belong to a set that was labelled?
cell_labels <- function(fit, labels, set, arg, call) {
  parts <- resolve_groups(fit, labels, set, call, arg)
  sizes <- c(target = ncol(fit@h), background = ncol(fit@h_background))
  given <- attr(parts, "labelled")
  label <- lapply(names(sizes), function(which) {
    if (given[[which]]) as.character(parts[[which]]) else rep(NA_character_, sizes[[which]])
  })
  label <- unlist(label)
  list(
    label = factor(label, levels = label_order(fit, labels, parts[names(which(given))])),
    given = rep(given, sizes)
  )
}

# The order of a vector's labels is that of as.factor(). Of sets that were labelled apart the labels of background cells alone come
# first: they are the natural reference.
label_order <- function(fit, labels, parts) {
  found <- if (is.atomic(labels) && !names_columns(fit, labels)) {
    intersect(levels(as.factor(labels)), unlist(lapply(parts, levels)))
  } else {
    union(setdiff(levels(parts$background), levels(parts$target)), c(levels(parts$target), levels(parts$background)))
  }
  setdiff(found, "NA")
}

# Of the cells to keep those that do not lack something, saying how many do.
leave_out <- function(keep, lacks, what) {
  n <- sum(keep & lacks)
  if (n > 0) cli::cli_inform("{n} cell{?s} without a {what} {cli::qty(n)}{?is/are} left out.")
  keep & !lacks
}

check_all_sampled <- function(unsampled, background, sample_by, call) {
  if (!any(unsampled)) return(invisible())
  sets <- unique(ifelse(background[unsampled], "background", "target"))
  abort_bcnmf("{.arg sample_by} gives no samples for the {sets} cells, which {.arg groups} compares.",
    arg = "sample_by", value = sample_by, call = call
  )
}

# One row per cell of both sets, of which those of a set that does not take part may be missing.
cell_covariates <- function(fit, covariates, background, set, call) {
  covariates <- plain_labels(covariates)
  if (names_columns(fit, covariates)) covariates <- do.call(rbind, unname(cell_columns(fit, covariates, "covariates", call)))
  own <- if (set == "both") !logical(length(background)) else background == (set == "background")
  if (is.list(covariates) && !is.data.frame(covariates)) covariates <- covariate_list(fit, covariates, own, call)
  if (!is.data.frame(covariates) || ncol(covariates) == 0) {
    refuse(covariates, "a data frame or a named list, with one row per cell", "covariates", call)
  }
  for (name in names(covariates)) check_covariate(covariates[[name]], name, call)
  rows <- rows_by_name(fit, covariates, "covariates", call)
  if (!is.null(rows)) {
    check_no_cell_lacks(fit, rows, own, "covariates", call)
  } else {
    rows <- rows_by_position(nrow(covariates), own, call)
  }
  covariates[rows, , drop = FALSE]
}

rows_by_position <- function(n, own, call) {
  allowed <- unique(c(sum(own), length(own)))
  if (!n %in% allowed) {
    abort_bcnmf(c(
      "{.arg covariates} must have one row per cell: {paste(allowed, collapse = ' or ')}.",
      x = "It has {n}."
    ), arg = "covariates", value = n, call = call)
  }
  if (n == length(own)) return(seq_len(n))
  rows <- rep(NA_integer_, length(own))
  rows[own] <- seq_len(n)
  rows
}

# A data frame of a list's vectors. Those that have the cells' names are put into the cells' order, and the others are as long then.
covariate_list <- function(fit, covariates, own, call) {
  names <- rlang::names2(covariates)
  if (any(names == "") || anyDuplicated(names)) {
    abort_bcnmf("Each of {.arg covariates} must have a name of its own.", arg = "covariates", value = names, call = call)
  }
  rows <- Map(function(x, name) rows_by_name(fit, x, sprintf("covariates$%s", name), call), covariates, names)
  named <- vapply(rows, function(at) any(!is.na(at)), NA)
  for (name in names[named]) {
    refuse_lacking(cell_names(fit)[own & is.na(rows[[name]])], "value", "cells", sprintf("covariates$%s", name), call)
  }
  if (any(named)) {
    rows[!named] <- lapply(lengths(covariates)[!named], rows_by_position, own, call)
    covariates <- Map(function(x, at) unname(x[at]), covariates, rows)
  }
  sizes <- lengths(covariates)
  if (length(unique(sizes)) > 1) {
    abort_bcnmf("{.arg covariates} must have the same length, not {paste(names, sizes, sep = ': ', collapse = ', ')}.",
      arg = "covariates", value = sizes, call = call
    )
  }
  list2DF(covariates)
}

check_covariate <- function(x, name, call) {
  arg <- sprintf("covariates$%s", name)
  if (!is.atomic(x) || !is.null(dim(x)) || is.complex(x) || is.raw(x)) {
    refuse(x, "a vector of numbers or labels", arg, call)
  }
  if (is.numeric(x) && any(is.infinite(x))) refuse(x, "finite", arg, call)
}

# Columns of a linear model for the covariates, without those that are constant.
covariate_columns <- function(covariates) {
  varies <- vapply(covariates, function(x) length(unique(x)) > 1, NA)
  covariates <- covariates[varies]
  if (length(covariates) == 0) return(matrix(0, nrow(covariates), 0))
  covariates[] <- lapply(covariates, function(x) {
    # scaled, so that no unit is lost to rounding
    if (is.numeric(x)) as.vector(scale(x)) else factor(x)
  })
  names(covariates) <- paste0("covariate", seq_along(covariates))
  unname(stats::model.matrix(~., covariates))[, -1, drop = FALSE]
}
