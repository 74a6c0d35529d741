# What losses of dispersed counts have besides the factors: dispersions by feature, and with "zinb" probabilities of dropout.

has_dispersions <- function(loss) loss %in% c("nb", "zinb")

# As the core takes them: what is estimated, and sizes, which are 1 / dispersion.
check_dispersion <- function(target, dispersion, dispersion_shared, loss, call) {
  check_flag(dispersion_shared, arg = "dispersion_shared", call = call)
  settings <- list(
    dispersion = "gene", dispersion_shared = as.double(dispersion_shared), sizes = numeric(), sizes_background = numeric()
  )
  if (is.null(dispersion) || identical(dispersion, "gene")) return(settings)
  losses <- data_parts(target)$losses
  if (!any(has_dispersions(if (is.null(losses)) loss else losses))) {
    loss <- if (is.null(losses)) loss else unique(losses)
    abort_bcnmf("{.arg dispersion} is for {.code loss = \"nb\"} and {.code \"zinb\"}: {.val {loss}} {?has/have} none.", arg = "dispersion", value = dispersion, call = call)
  }
  if (identical(dispersion, "global")) {
    settings$dispersion <- "global"
    return(settings)
  }
  ok <- is.numeric(dispersion) && is.null(dim(dispersion)) && length(dispersion) %in% c(1, nrow(target)) && all(is.finite(dispersion)) && all(dispersion >= 0)
  if (!ok) {
    refuse(dispersion, sprintf("\"gene\", \"global\", or one or %d finite numbers of at least 0", nrow(target)), "dispersion", call)
  }
  if (length(dispersion) > 1) check_item_names(dispersion, rownames(target), "dispersion", call)
  settings$dispersion <- "fixed"
  settings$sizes <- settings$sizes_background <- sizes_of(rep_len(as.double(dispersion), nrow(target)))
  settings
}

# As the core takes it: what has a probability of dropout, and where the probabilities start.
check_dropout <- function(zi, loss, call) {
  per <- check_choice(zi, c("feature", "cell"), arg = "zi", call = call)
  if (per != "feature" && loss != "zinb") {
    abort_bcnmf("{.arg zi} is for {.code loss = \"zinb\"}: {.val {loss}} knows no dropout.", arg = "zi", value = zi, call = call)
  }
  list(zi = per, dropout = numeric(), dropout_background = numeric())
}

# The size of a negative binomial distribution, from its dispersion and the reverse: the variance is `mu + mu^2 / size`.
sizes_of <- function(dispersion) 1 / as.double(dispersion)

# Those of a model's set: its own, or, where both have the same, those of the target.
of_set <- function(fit, what, set) {
  own <- if (set == "background") fit@misc[[paste0(what, "_background")]]
  if (is.null(own)) fit@misc[[what]] else own
}
dispersion_in <- function(fit, set) of_set(fit, "dispersion", set)
dropout_in <- function(fit, set) of_set(fit, "dropout", set)

# What a model has besides, from the core's result.
dispersion_record <- function(result, settings, x, y) {
  if (!has_dispersions(settings$loss)) return(NULL)
  of_features <- function(values) if (length(values)) stats::setNames(values[[1]], rownames(x))
  record <- list(
    dispersion = of_features(lapply(result$sizes[1], sizes_of)), dispersion_background = of_features(lapply(result$sizes[-1], sizes_of)),
    dispersion_by = settings$dispersion, dispersion_shared = settings$dispersion_shared > 0
  )
  if (settings$loss != "zinb") return(record)
  # an interrupted fit may not have come to them
  found <- result$dropout
  if (!length(found)) found <- list(numeric(nrow(x)))
  by_cell <- settings$zi == "cell" && length(result$dropout) > 0
  c(record, list(
    zi = settings$zi,
    dropout = if (by_cell) stats::setNames(found[[1]], colnames(x)) else of_features(found[1]),
    dropout_background = if (!by_cell) of_features(found[-1]) else if (length(found) > 1) stats::setNames(found[[2]], colnames(y))
  ))
}

# Where a fit of the same features and cells starts from a model's dispersions and dropout, as the core takes it.
dispersion_settings <- function(fit, settings) {
  if (!has_dispersions(settings$loss) || !has_dispersions(fit@loss)) return(settings)
  if (settings$dispersion != "fixed") {
    settings$sizes <- sizes_of(dispersion_in(fit, "target"))
    settings$sizes_background <- sizes_of(dispersion_in(fit, "background"))
  }
  if (settings$loss == "zinb" && fit@loss == "zinb" && identical(settings$zi, fit@misc$zi)) {
    settings$dropout <- as.double(dropout_in(fit, "target"))
    settings$dropout_background <- as.double(dropout_in(fit, "background"))
  }
  settings
}

# Rates of a part of a set, as many of them as are not lost.
times_kept <- function(mu, fit, set, features = NULL, cells = NULL) {
  if (fit@loss != "zinb") return(mu)
  kept <- 1 - unname(dropout_in(fit, set))
  if (fit@misc$zi == "feature") {
    if (!is.null(features)) kept <- kept[features]
    return(mu * kept)
  }
  if (!is.null(cells)) kept <- kept[cells]
  losses <- feature_losses(fit)
  if (!is.null(features)) losses <- losses[features]
  kept <- matrix(kept, nrow(mu), length(kept), byrow = TRUE)
  if (!is.null(losses)) kept[losses != "zinb", ] <- 1
  mu * kept
}
