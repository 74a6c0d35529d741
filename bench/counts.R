# What is estimated of dispersed and lossy counts, and which loss suits which counts. Writes RESULTS-counts.md. See README.md beside this file.
#   Rscript bench/counts.R [--features 500] [--cells 5000] [--seeds 3] [...]     all arguments: --help
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))
args <- read_arguments(list(features = 500, cells = 5000, k = 5, seeds = 3, maxit = 300, threads = 2, output = file.path(bench_dir, "RESULTS-counts.md")))
options(bcnmf.threads = args$threads, bcnmf.verbose = FALSE)

# Counts of planted programs. Features and cells lose what `dropout` says.
draw <- function(seed, size, dropout) {
  sim <- bcnmf::simulate_contrast(args$features, args$cells, 0, k_shared = args$k, k_target = 0, depth = 3 * args$features, loading_shape = 0.5, seed = seed)
  set.seed(seed)
  mu <- sim$w %*% sim$h
  counts <- if (is.null(size)) stats::rpois(length(mu), mu) else stats::rnbinom(length(mu), size = size, mu = mu)
  kept <- stats::rbinom(length(mu), 1, 1 - dropout)
  x <- methods::as(Matrix::Matrix(matrix(counts * kept, nrow(mu)), sparse = TRUE), "CsparseMatrix")
  rownames(x) <- rownames(sim$target)
  list(x = x, mu = mu, w = sim$w, size = size, dropout = dropout, common = rowMeans(mu) >= 0.5)
}

kinds <- list(
  poisson = function(seed) draw(seed, NULL, 0),
  nb = function(seed) draw(seed, exp(seq(log(0.5), log(10), length.out = args$features)), 0),
  zinb = function(seed) draw(seed, exp(seq(log(0.5), log(10), length.out = args$features)), rep_len(c(0, 0.1, 0.2, 0.3, 0.4, 0.5), args$features))
)


# Parts of the common features whose size and dropout are found.
found_sizes <- function(size, data) mean(abs(size / data$size - 1)[data$common] <= 0.25)
found_dropout <- function(dropout, data) mean(abs(dropout - rep_len(data$dropout, args$features))[data$common] <= 0.05)

# What the counts tell at most: maximum likelihood, feature by feature, of someone who knows the means.
known_means_row <- function(kind, data, seed) {
  lossy <- any(data$dropout > 0)
  surprise <- function(y, mu) {
    function(p) {
      likelihood <- stats::dnbinom(y, size = exp(p[1]), mu = mu, log = TRUE)
      if (!lossy) return(-sum(likelihood))
      lost <- stats::plogis(p[2])
      -sum(ifelse(y == 0, log(lost + (1 - lost) * exp(likelihood)), log1p(-lost) + likelihood))
    }
  }
  # some starts are next to no dropout
  starts <- expand.grid(size = log(c(0.5, 2, 8)), lost = c(-1, -8))
  found <- vapply(seq_len(args$features), function(i) {
    f <- surprise(data$x[i, ], data$mu[i, ])
    if (!lossy) return(c(stats::optimize(f, log(c(0.01, 1e4)))$minimum, -Inf))
    ends <- apply(starts, 1, stats::optim, f)
    ends[[which.min(vapply(ends, `[[`, 0, "value"))]]$par
  }, c(0, 0))
  data.frame(
    counts = kind, loss = "known means", seed = seed, size = found_sizes(exp(found[1, ]), data),
    dropout = if (lossy) found_dropout(stats::plogis(found[2, ]), data) else NA, cosine = NA, seconds = NA
  )
}

one_row <- function(kind, data, loss, seed) {
  seconds <- system.time(fit <- bcnmf::bcnmf(data$x, k = args$k, loss = loss, seed = seed, maxit = args$maxit))[["elapsed"]]
  unit <- function(w) t(t(w) / sqrt(colSums(w^2)))
  data.frame(
    counts = kind, loss = loss, seed = seed,
    size = if (is.null(data$size) || is.null(fit@misc$dispersion)) NA else found_sizes(1 / fit@misc$dispersion, data),
    dropout = if (is.null(fit@misc$dropout)) NA else found_dropout(fit@misc$dropout, data),
    cosine = mean(apply(crossprod(unit(fit$w), unit(data$w)), 2, max)), seconds = seconds
  )
}

seeds <- seq_len(args$seeds)
fits <- list()
likelihoods <- list()
for (kind in names(kinds)) for (seed in seeds) {
  data <- kinds[[kind]](seed)
  for (loss in c("poisson", "nb", "zinb")) fits[[length(fits) + 1]] <- one_row(kind, data, loss, seed)
  if (!is.null(data$size)) fits[[length(fits) + 1]] <- known_means_row(kind, data, seed)
  found <- bcnmf::select_loss(data$x, k = args$k, seed = seed)
  likelihoods[[length(likelihoods) + 1]] <- cbind(counts = kind, as.data.frame(found))
  message(kind, ", seed ", seed)
}
# Counts of few molecules a cell, and thirty proteins with normal noise, of the same programs.
draw_two <- function(seed) {
  sim <- bcnmf::simulate_contrast(args$features, args$cells, 0, k_shared = args$k, k_target = 0, depth = args$features / 2, loading_shape = 0.5, seed = seed)
  set.seed(seed)
  mu <- sim$w %*% sim$h
  rna <- matrix(stats::rnbinom(length(mu), size = exp(seq(log(0.5), log(10), length.out = nrow(mu))), mu = mu), nrow(mu))
  share <- t(t(sim$h) / colSums(sim$h))
  level <- matrix(stats::rgamma(30 * args$k, 0.5), 30) %*% share
  protein <- pmax(level + stats::rnorm(length(level), sd = stats::sd(level) / 4), 0)
  list(x = list(rna = methods::as(Matrix::Matrix(rna, sparse = TRUE), "CsparseMatrix"), protein = protein), share = share)
}

modality_losses <- list(
  "nb and mse" = c(rna = "nb", protein = "mse"), "poisson and mse" = c(rna = "poisson", protein = "mse"), "mse for both" = "mse", "poisson for both" = "poisson"
)
modalities <- do.call(rbind, lapply(seeds, function(seed) {
  data <- draw_two(seed)
  row <- function(what, x, loss) {
    # proteins are no counts
    seconds <- system.time(fit <- suppressWarnings(bcnmf::bcnmf(x, k = args$k, loss = loss, seed = seed, maxit = args$maxit)))[["elapsed"]]
    use <- bcnmf::embedding(fit, normalise = "L1")
    data.frame(what = what, correlation = mean(apply(stats::cor(use, t(data$share)), 2, max)), seconds = seconds)
  }
  rbind(
    do.call(rbind, lapply(names(modality_losses), function(what) row(what, data$x, modality_losses[[what]]))),
    row("RNA alone, nb", data$x$rna, "nb"), row("proteins alone, mse", data$x$protein, "mse")
  )
}))
fits <- do.call(rbind, fits)
likelihoods <- do.call(rbind, likelihoods)

folder <- Sys.getenv("BCNMF_DATA", file.path(bench_dir, "..", "..", "shared", "data"))
blood <- file.path(folder, "pbmc_stim.RData")
if (file.exists(blood)) {
  cells <- new.env()
  load(blood, cells)
  both <- cbind(cells$pbmc.stim, cells$pbmc.ctrl)
  both <- both[order(-Matrix::rowMeans(both))[1:2000], ]
  stimulated <- rep(c(TRUE, FALSE), c(ncol(cells$pbmc.stim), ncol(cells$pbmc.ctrl)))
  for (k in c(5, 10, 20)) {
    found <- bcnmf::select_loss(both, k = k)
    likelihoods <- rbind(likelihoods, cbind(counts = sprintf("blood cells, k = %d", k), as.data.frame(found)))
  }
  auc <- function(use) {
    r <- rank(use)
    (sum(r[stimulated]) - sum(stimulated) * (sum(stimulated) + 1) / 2) / (sum(stimulated) * sum(!stimulated))
  }
  stimulus <- do.call(rbind, lapply(c("poisson", "nb", "zinb"), function(loss) do.call(rbind, lapply(seeds, function(seed) {
    seconds <- system.time(fit <- bcnmf::bcnmf(both, k = 10, loss = loss, seed = seed, maxit = args$maxit))[["elapsed"]]
    each <- apply(bcnmf::embedding(fit), 2, auc)
    data.frame(loss = loss, auc = max(each, 1 - each), seconds = seconds, lost = if (is.null(fit@misc$dropout)) NA else mean(fit@misc$dropout > 0.05))
  }))))
}

mean_range <- function(x, digits = 2) {
  x <- x[!is.na(x)]
  if (!length(x)) return("")
  shown <- formatC(c(mean(x), range(x)), format = "f", digits = digits)
  sprintf("%s (%s to %s)", shown[1], shown[2], shown[3])
}
# One row a group, in the order they come in.
by_group <- function(table, keys, row) {
  group <- do.call(paste, table[keys])
  do.call(rbind, lapply(unique(group), function(g) row(table[group == g, ])))
}
fits$relative <- fits$seconds / ave(ifelse(fits$loss == "poisson", fits$seconds, NA), fits$counts, fits$seed, FUN = function(x) mean(x, na.rm = TRUE))
lines <- c(
  "# What counts.R wrote last", "",
  sprintf("bcnmf %s, %s, %s; %d features, %d cells, %d programs, %d seeds, at most %d sweeps.", utils::packageVersion("bcnmf"), R.version.string, Sys.Date(), args$features, args$cells, args$k, args$seeds, args$maxit),
  "Means over seeds, least and largest in brackets.", "",
  "## Simulated counts", "",
  "Sizes from 0.5 to 10; with zinb 0 to 50 % of each feature's counts are lost. *Sizes*, *dropout*: parts of the features with a mean of at least 0.5 whose size is found within a quarter, and whose probability of dropout within 0.05. *Cosine*: of the best",
  "factor for each program. *Time*: of the whole fit, relative to poisson's in the same run. *Known means*: maximum likelihood, feature by feature, of someone who knows the means, which is what so many cells tell at most.", "",
  markdown_table(by_group(fits, c("counts", "loss"), function(rows) data.frame(
    counts = rows$counts[1], loss = rows$loss[1], sizes = mean_range(rows$size), dropout = mean_range(rows$dropout),
    cosine = mean_range(rows$cosine, 3), time = mean_range(rows$relative, 1)
  ))), "",
  "## Held-out likelihood", "",
  "`select_loss()`: minus the mean log-likelihood of a held-out entry, how far it is above the best in %, and how often the loss was selected.", "",
  markdown_table(by_group(likelihoods, c("counts", "distribution"), function(rows) data.frame(
    counts = rows$counts[1], loss = rows$distribution[1], "held-out loss" = mean_range(rows$loss, 3),
    "above the best, %" = mean_range(100 * rows$excess), selected = sprintf("%d of %d", sum(rows$selected), nrow(rows)), check.names = FALSE
  ))),
  "", "## Two modalities", "",
  sprintf("Negative binomial counts, %d a cell in the mean, and 30 proteins with normal noise of a quarter of their standard deviation. *Correlation*: of each program's share of a cell's use, with the best factor's.", as.integer(args$features / 2)), "",
  markdown_table(by_group(modalities, "what", function(rows) data.frame(
    losses = rows$what[1], correlation = mean_range(rows$correlation, 3), time = mean_range(rows$seconds / mean(modalities$seconds[modalities$what == "poisson for both"]), 1)
  ))),
  if (exists("stimulus")) c(
    "", "## Interferon-stimulated and control blood cells together", "",
    "2 000 genes, k = 10, no contrast: the best factor's AUC for the stimulus, the part of genes of which more than 5 % are said to be lost, and the time relative to poisson's mean.", "",
    markdown_table(by_group(stimulus, "loss", function(rows) data.frame(
      loss = rows$loss[1], AUC = mean_range(rows$auc, 3), "genes with dropout" = mean_range(rows$lost, 3),
      time = mean_range(rows$seconds / mean(stimulus$seconds[stimulus$loss == "poisson"]), 1), check.names = FALSE
    )))
  )
)
write_lines(lines, args$output)
