# Printing a model: a few lines that say what was fitted, how it ended and what the factors are.

# Above this many values the AUCs of a printed table would take seconds.
show_auc_limit <- 5e6

#' @rdname bcnmf-class
#' @importFrom methods show
#' @export
methods::setMethod("show", "bcnmf", function(object) {
  cat(show_header(object), sep = "\n")
  cat("\n")
  cat(show_factors(object, n = 10), sep = "\n")
  invisible(NULL)
})

show_header <- function(object) {
  l <- ncol(object@h_background)
  cells <- if (l > 0) {
    sprintf("%d target + %s", ncol(object@h), counted(l, "background cell"))
  } else {
    counted(ncol(object@h), "cell")
  }
  k <- ncol(object@w)
  c(
    sprintf("<bcnmf> %s x %s", counted(nrow(object@w), "feature"), cells),
    sprintf("k = %s, loss %s, %s", counted(k, "factor"), loss_label(model_losses(object)), show_contrast(object)),
    show_ending(object),
    show_divergence(object),
    show_missing(object),
    show_held(object),
    degenerate_lines(degenerate_factors(object))
  )
}

show_contrast <- function(object) {
  if (ncol(object@h_background) == 0) return("no background (plain NMF)")
  if (!is.na(object@lambda)) {
    return(sprintf("k_target = %d, lambda = %s", sum(object@target_only), show_number(object@lambda)))
  }
  sprintf("alpha = %s (beta = %s)", show_number(object@alpha), show_number(object@beta))
}

# How a fit ended; where it ran out of sweeps also how far it was from converged.
show_ending <- function(object) {
  misc <- object@misc
  if (!is.null(misc$consensus)) return(sprintf("consensus of %d fits, then %s", misc$consensus, counted(misc$iterations, "sweep")))
  restarts <- object@restarts
  converged <- isTRUE(misc$converged)
  ending <- if (isTRUE(misc$interrupted)) "interrupted" else if (converged) "converged" else "not converged"
  sweeps <- if (!is.null(misc$iterations)) {
    if (is.null(misc$batch_size)) {
      paste(" after", counted(misc$iterations, "sweep"))
    } else {
      sprintf(" after %s in batches of %d", counted(misc$iterations, "pass", "es"), as.integer(misc$batch_size))
    }
  }
  change <- utils::tail(object@history$change[!is.na(object@history$change)], 1)
  # what ends mini-batches is not this change
  distance <- if (!converged && length(change) && !is.null(misc$tol) && !identical(misc$update, "batch")) {
    sprintf(", last change %s with tol = %s", format(change, digits = 2), format(misc$tol))
  }
  starts <- if (nrow(restarts) > 1) {
    sprintf("; best of %d starts, %d converged", nrow(restarts), sum(restarts$converged, na.rm = TRUE))
  }
  paste0(ending, sweeps, distance, starts)
}

show_divergence <- function(object) {
  if (isTRUE(object@misc$subset) && anyNA(object@divergence[["target"]])) {
    return("divergence unknown: some of the fit's factors were dropped")
  }
  known <- object@divergence[!is.na(object@divergence)]
  if (ncol(object@h_background) == 0) known <- known["target"]
  paste0("divergence: ", paste(names(known), show_alike(known), collapse = ", "))
}

# What the features are of, what was in no sum, and what did not count once.
show_missing <- function(object) {
  misc <- object@misc
  sizes <- nrow(object@w) * c(target = ncol(object@h), background = ncol(object@h_background))
  part <- (1 - misc$n_values[names(sizes)] / sizes)[sizes > 0]
  c(
    if (!is.null(misc$modality)) {
      sizes_of_each <- table(misc$modality)
      paste0("modalities: ", paste(sprintf("%s (%s)", names(sizes_of_each), counted(sizes_of_each, "feature")), collapse = ", "))
    },
    if (!is.null(misc$mask)) paste0("missing: ", paste(sprintf("%.2g%% of the %s", 100 * part, names(part)), collapse = ", ")),
    if (!is.null(misc$weights)) {
      paste("weights of", paste(c(features = "features", cells = "target cells", background = "background cells")[names(misc$weights)], collapse = ", "))
    },
    if (!is.null(misc$size_factors)) sprintf("size factors: %s", if (is.null(misc$size_factors$reference)) "given" else "library")
  )
}

# Factors whose loadings are those of a fit with more.
show_held <- function(object) {
  held <- intersect(colnames(object@w), object@misc$held)
  if (length(held)) sprintf("held: %s, from a fit with %d factors, as so few are not enough to tell them from what both sets share", paste(held, collapse = ", "), as.integer(object@misc$beside))
}

show_number <- function(x) vapply(x, format, "", digits = 4)

# Numbers to be compared: with as many digits, and all with exponents or, unless some are huge or tiny, none.
show_alike <- function(x, digits = 4) {
  size <- abs(x[x != 0])
  if (any(size >= 1e9 | size < 1e-4)) return(sprintf("%.*e", digits - 1, x))
  after_point <- pmax(0, digits - 1 - floor(log10(ifelse(x == 0, 1, abs(x)))))
  sprintf("%.*f", as.integer(after_point), x)
}

# "1 cell", "2 cells".
counted <- function(n, what, plural = "s") sprintf("%d %s%s", as.integer(n), what, ifelse(n == 1, "", plural))

show_factors <- function(object, n, auc_limit = show_auc_limit) {
  k <- ncol(object@w)
  shown <- seq_len(min(k, n))
  part <- contrast_table(object, shown,
    with_auc = length(shown) * (ncol(object@h) + ncol(object@h_background)) <= auc_limit
  )
  columns <- list(factor = as.character(part$factor), share = sprintf("%.1f%%", 100 * use_share(object@d)[shown]))
  columns$cells <- sprintf("%.0f%%", 100 * part$prevalence)
  if (ncol(object@h_background) > 0) {
    # of target-only factors both are what they are by construction
    unless_given <- function(text) ifelse(part$target_only, "-", text)
    columns[["log2 contrast"]] <- unless_given(sprintf("%.2f", part$log2_contrast))
    if (!is.null(part$auc)) columns$AUC <- unless_given(sprintf("%.3f", part$auc))
    columns$effect <- sprintf("%.2f", part$effect)
    if (any(object@target_only)) columns[[" "]] <- ifelse(part$target_only, "target-only", "")
  }
  lines <- do.call(paste, c(Map(function(name, values) {
    formatC(c(name, values), width = max(nchar(c(name, values))), flag = if (name %in% c("factor", " ")) "-" else "")
  }, names(columns), columns), sep = "  "))
  more <- if (k > n) sprintf("# %s: summary(fit)", counted(k - n, "more factor"))
  c(sub(" +$", "", lines), more)
}

# Every factor's part of the whole; 0 where nothing was fitted.
use_share <- function(d) if (sum(d) > 0) d / sum(d) else 0 * d
