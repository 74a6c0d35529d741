# What consensus() takes, and the model that it makes of data and consensus loadings.

check_fits <- function(fits, call) {
  if (methods::is(fits, "bcnmf")) {
    abort_bcnmf(c(
      "{.arg fits} must be a list of models made by bcnmf(), not a single one.",
      i = "{.fn bcnmf} keeps the best of its starts; fit each by itself: {.code lapply(1:10, function(s) bcnmf(..., seed = s))}."
    ), arg = "fits", value = fits, call = call)
  }
  if (!is.list(fits) || is.data.frame(fits)) refuse(fits, "a list of models made by bcnmf()", "fits", call)
  for (i in seq_along(fits)) check_fit(fits[[i]], arg = sprintf("fits[[%d]]", i), call = call)
  if (length(fits) < 2) {
    abort_bcnmf("{.arg fits} must hold at least two models to compare, not {length(fits)}.", arg = "fits", value = length(fits), call = call)
  }
  alike <- function(what, value) check_alike(vapply(fits, value, ""), what, call)
  alike("number of features", function(fit) as.character(nrow(fit@w)))
  check_feature_names(lapply(fits, function(fit) rownames(fit@w)), call)
  alike("number of factors", function(fit) as.character(ncol(fit@w)))
  alike("number of target-only factors", function(fit) as.character(sum(fit@target_only)))
  alike("loss", function(fit) loss_label(model_losses(fit)))
  alike("kind of dropout", function(fit) if (fit@loss == "zinb") fit@misc$zi else "none")
  alike("kind of data", function(fit) if (ncol(fit@h_background) > 0) "a background" else "no background")
  if (is.null(common_contrast(fits))) {
    alike("contrast", function(fit) sprintf("alpha = %s (beta = %s)", show_number(fit@alpha), show_number(fit@beta)))
  }
}

check_alike <- function(values, what, call) {
  other <- which(values != values[1])[1]
  if (is.na(other)) return(invisible())
  abort_bcnmf(c(
    "All models must have the same {what}.",
    x = "{.code fits[[1]]} has {values[[1]]}, {.code fits[[{other}]]} has {values[[other]]}."
  ), arg = "fits", value = unname(values), call = call)
}

check_feature_names <- function(names, call) {
  for (i in seq_along(names)) {
    if (is.null(names[[i]]) || is.null(names[[1]])) next
    at <- names_that_differ(names[[i]], names[[1]])[1]
    if (is.na(at)) next
    abort_bcnmf(c(
      "All models must have the same features, in the same order.",
      x = "Feature {at} is {.val {names[[1]][at]}} in {.code fits[[1]]}, and {.val {names[[i]][at]}} in {.code fits[[{i}]]}."
    ), arg = "fits", value = names[[i]][at], call = call)
  }
}

# How the background enters, as check_contrast() has it; NULL where the fits differ in that. On parts of the cells one of alpha and beta
# was given, and the other varies.
common_contrast <- function(fits) {
  same <- function(part) {
    values <- vapply(fits, function(fit) methods::slot(fit, part), 0)
    isTRUE(all.equal(unname(values), rep(values[[1]], length(values)), tolerance = 1e-6))
  }
  first <- fits[[1]]
  kind <- if (any(first@target_only)) {
    if (same("lambda")) list(contrast = "lambda", strength = first@lambda) else list(contrast = "size", strength = default_lambda)
  } else if (same("alpha")) {
    list(contrast = "alpha", strength = first@alpha)
  } else if (same("beta")) {
    list(contrast = "beta", strength = first@beta)
  }
  if (!is.null(kind)) c(kind, k_target = sum(first@target_only))
}

# Where sizes and dropout start, as the core takes it: means over the fits. Dropout of cells starts anew: fits need not have the same.
common_dispersion <- function(fits, settings) {
  first <- fits[[1]]@misc
  if (!has_dispersions(fits[[1]]@loss)) return(settings)
  mean_of <- function(of, set) Reduce(`+`, lapply(fits, of, set)) / length(fits)
  settings$dispersion <- first$dispersion_by
  settings$dispersion_shared <- as.double(first$dispersion_shared)
  settings$sizes <- sizes_of(mean_of(dispersion_in, "target"))
  settings$sizes_background <- sizes_of(mean_of(dispersion_in, "background"))
  if (fits[[1]]@loss != "zinb") return(settings)
  settings$zi <- first$zi
  if (first$zi == "feature") {
    settings$dropout <- as.double(mean_of(dropout_in, "target"))
    settings$dropout_background <- as.double(mean_of(dropout_in, "background"))
  }
  settings
}

check_consensus_data <- function(fits, target, background, call) {
  had <- ncol(fits[[1]]@h_background) > 0
  if (!is.null(background)) check_has_background(fits[[1]], "A consensus with a background", "background", background, call)
  if (is.null(target) && !is.null(background)) {
    abort_bcnmf("{.arg target} is missing: a consensus model needs both sets of cells.", arg = "target", call = call)
  }
  if (!is.null(target) && is.null(background) && had) {
    abort_bcnmf("{.arg background} is missing: the models were fitted with one.", arg = "background", call = call)
  }
  # what `[` leaves of models with target-only factors
  reserved <- fits[[1]]@target_only
  if (!is.null(background) && !is.na(fits[[1]]@lambda) && length(unique(reserved)) == 1) {
    abort_bcnmf(c(
      "{.arg fits} have {if (reserved[1]) 'no factors but' else 'lost their'} target-only ones: that is no model of target and background.",
      i = "Without data, {.code consensus(fits)} compares their loadings."
    ), arg = "fits", call = call)
  }
}

# Of each row of partners, factors x fits, whether all of them are held.
held_in_all <- function(partner, fits) {
  held <- vapply(seq_along(fits), function(i) (colnames(fits[[i]]@w) %in% fits[[i]]@misc$held)[partner[, i]], logical(nrow(partner)))
  rowSums(!matrix(held, nrow(partner))) == 0
}

# The model that starts from the consensus loadings with the best coefficients of all cells.
place_consensus <- function(found, fits, target, background, mask, maxit, threads, verbose, call) {
  target <- in_model_order(target, fits[[1]], "target", call)
  weights <- model_weights(fits[[1]], target, background)
  sets <- read_sets(target, background, call,
    reference = found$w, mask = mask, weights = weights, loss = loss_of_data(fits[[1]], target), size_factors = inherited_size_factors(fits[[1]])
  )
  sets <- mix_sets(sets, fits[[1]])
  x <- sets$x
  y <- sets$y
  # as the core has them: target-only factors last, and of these those that all fits hold
  held <- held_in_all(found$partner, fits)
  last <- order(found$target_only, held)
  w <- unname(found$w[, last, drop = FALSE])
  open <- !found$target_only[last]
  settings <- do.call(fit_settings, c(
    list(k = ncol(w), loss = fits[[1]]@loss, maxit = maxit, threads = threads, w = list(w), hold = sum(held), beside = fits[[1]]@misc$beside),
    fits[[1]]@misc[c("L1", "L2", "tol", "precision", "ambient")], common_contrast(fits)
  ))
  # refuses bad data, and tells their size
  settings <- common_dispersion(fits, settings)
  data <- rs_fit_data(core_call(rs_fit_new(x, y, settings), call))
  size <- list(cells = ncol(x), total = data$total)
  place <- function(x, w) project(x, w, fits[[1]], size, tol = 1e-6, maxit = 2000, threads, verbose, call)
  settings["w"] <- list(NULL)
  settings$factors <- list(w = w, h = place(x, w), h_background = numeric())
  if (!is.null(y)) {
    settings$factors$h_background <- matrix(0, ncol(w), ncol(y))
    settings$factors$h_background[open, ] <- place(y, w[, open, drop = FALSE])
  }
  session <- run_fit(x, y, settings, call, progress_bar(verbose, "Consensus"))
  model <- new_model(rs_fit_result(session), data, settings, x, y, NULL, interrupted = FALSE, call = NULL)
  model@restarts$start <- "consensus"
  model@misc <- c(model@misc, mask_record(sets$masks, x, y), weight_record(sets$weights), size_factor_record(sets$size_factors), modality_record(sets))
  model@misc$consensus <- length(fits)
  model
}
