# What consensus() tells of factors, fits and copies, and how it is printed.

consensus_tables <- function(found, fits, loadings, min_cosine) {
  k <- ncol(found$w)
  n <- length(fits)
  names <- colnames(found$w)
  labels <- fit_labels(fits)
  copies <- lapply(seq_len(k), function(j) copies_of(loadings, found$partner[j, ]))
  cosines <- vapply(seq_len(k), function(j) as.vector(cosine(found$w[, j, drop = FALSE], copies[[j]])), numeric(n))
  cosines <- t(matrix(cosines, n))
  is_near <- cosines > 0 & is_found(cosines, min_cosine)
  all <- cosine(do.call(cbind, copies), do.call(cbind, copies))
  alive <- unlist(lapply(copies, colSums)) > 0
  factor_of <- rep(seq_len(k), each = n)
  stability <- vapply(seq_len(k), function(j) pairwise_cosines(all[factor_of == j, factor_of == j], alive[factor_of == j]), numeric(3))
  own <- vapply(seq_len(n), function(i) colnames(fits[[i]]@w)[found$partner[, i]], character(k))
  value <- function(f, like) unname(vapply(fits, f, like))
  list(
    factors = data.frame(
      factor = factor(names, levels = names), stability = stability[1, ], stability_min = stability[2, ], stability_max = stability[3, ],
      silhouette = silhouettes(all, factor_of, alive), n_found = as.integer(rowSums(is_near)),
      n_dead = as.integer(rowsum(as.integer(!alive), factor_of)), n_fits = n, target_only = found$target_only
    ),
    fits = data.frame(
      fit = factor(labels, levels = labels),
      start = value(function(fit) as.character(fit@restarts$start[which(fit@restarts$best)[1]]), ""),
      objective = value(function(fit) fit@divergence[["objective"]], 0),
      iterations = value(function(fit) as.double(c(fit@misc$iterations, NA)[1]), 0),
      converged = value(function(fit) isTRUE(fit@misc$converged), NA),
      agreement = colMeans(cosines), n_found = as.integer(colSums(is_near))
    ),
    copies = data.frame(
      factor = factor(rep(names, each = n), levels = names), fit = factor(rep(labels, times = k), levels = labels),
      copy = as.vector(t(matrix(own, k))), cosine = as.vector(t(cosines)), found = as.vector(t(is_near))
    )
  )
}

fit_labels <- function(fits) {
  labels <- rlang::names2(fits)
  make.unique(ifelse(labels == "", as.character(seq_along(fits)), labels))
}

# Mean, least and largest cosine between different copies.
pairwise_cosines <- function(similarity, alive) {
  if (!any(alive)) return(rep(NA_real_, 3))
  pairs <- similarity[upper.tri(similarity)]
  c(mean(pairs), min(pairs), max(pairs))
}

# Mean silhouette of each factor's living copies, from cosines: the distance of vectors of unit length is sqrt(2 - 2 cos).
silhouettes <- function(similarity, factor_of, alive) {
  k <- max(factor_of)
  result <- rep(NA_real_, k)
  label <- factor(factor_of[alive], levels = seq_len(k))
  size <- tabulate(label, k)
  living <- which(size > 0)
  if (length(living) < 2) return(result)
  distance <- sqrt(pmax(2 - 2 * similarity[alive, alive, drop = FALSE], 0))
  diag(distance) <- 0
  total <- rowsum(distance, as.integer(label)) # living factors x copies
  at <- cbind(match(as.integer(label), living), seq_along(label))
  own <- total[at] / pmax(size[label] - 1, 1)
  other <- total / size[living]
  other[at] <- Inf
  nearest <- apply(other, 2, min)
  largest <- pmax(own, nearest)
  # a copy alone, or copies of two factors at one place, tell nothing
  value <- ifelse(size[label] > 1 & largest > 0, (nearest - own) / largest, 0)
  result[living] <- tapply(value, label, mean)[living]
  result
}

#' @method print bcnmf_consensus
#' @export
#' @noRd
print.bcnmf_consensus <- function(x, digits = 3, ...) {
  k <- nrow(x$factors)
  n <- nrow(x$fits)
  cat(sprintf(
    "<bcnmf_consensus> of %d fits, k = %d\n%d of %d factors of the fits found (cosine with the consensus at least %s)\n\n",
    n, k, sum(x$copies$found), nrow(x$copies), format(x$min_cosine)
  ))
  table <- x$factors[c("factor", "stability", "stability_min", "stability_max", "silhouette", "n_found")]
  table$n_found <- sprintf("%d/%d", x$factors$n_found, n)
  if (any(x$factors$n_dead > 0)) table$n_dead <- x$factors$n_dead
  if (any(x$factors$target_only)) table$target_only <- x$factors$target_only
  print(table, digits = digits, row.names = FALSE, ...)
  cat("\n", paste0(c(consensus_left_out(x), consensus_next(x)), "\n"), sep = "")
  invisible(x)
}

# The fits that lack most factors, by name.
consensus_left_out <- function(x, n = 5) {
  poor <- x$fits[x$fits$n_found < nrow(x$factors), ]
  if (nrow(poor) == 0) return("every fit has every factor")
  poor <- poor[order(poor$n_found), ]
  shown <- utils::head(poor, n)
  lacking <- nrow(x$factors) - shown$n_found
  paste0(
    "left out, not alike: ", paste(sprintf("%d of fit %s", lacking, shown$fit), collapse = ", "),
    if (nrow(poor) > n) sprintf(", and of %d more", nrow(poor) - n), " (see $copies)"
  )
}

consensus_next <- function(x) {
  if (is.null(x$model)) "no model without data: consensus(fits, target, background)" else "the consensus model: $model"
}

#' @method as.data.frame bcnmf_consensus
#' @export
#' @noRd
as.data.frame.bcnmf_consensus <- function(x, ...) x$factors
