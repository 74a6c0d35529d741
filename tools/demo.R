# The demo: Rscript tools/demo.R [folder], from the package's root. Prints what it finds and writes every plot as PNG.
suppressPackageStartupMessages({
  library(bcnmf)
  library(ggplot2)
})

given <- commandArgs(trailingOnly = TRUE)
folder <- if (length(given)) given[[1]] else "demo-output"
dir.create(folder, showWarnings = FALSE, recursive = TRUE)
options(width = 110)

started <- proc.time()[["elapsed"]]
written <- character()
skipped <- character()

section <- function(...) cat("\n", strrep("=", 78), "\n", ..., "\n", strrep("=", 78), "\n", sep = "")

# A statement as a user would type it, then what it prints.
say <- function(...) cat("\n", ..., "\n", sep = "")

skip <- function(...) {
  skipped <<- c(skipped, paste0(...))
  cat("\nSKIPPED: ", ..., "\n", sep = "")
}

save_plot <- function(plot, name) {
  file <- file.path(folder, paste0(name, ".png"))
  ggsave(file, plot, bg = "white", width = 7, height = 5, dpi = 150)
  written <<- c(written, file)
  cat("wrote ", file, "\n", sep = "")
}

cosine <- function(a, b) {
  unit <- function(m) sweep(m, 2, pmax(sqrt(colSums(m^2)), 1e-300), "/")
  crossprod(unit(a), unit(b))
}

# Each planted program with the factor that is most like it.
match_truth <- function(fit, truth) {
  similarity <- cosine(fit$w, truth)
  best <- apply(similarity, 2, which.max)
  data.frame(
    program = colnames(truth), factor = rownames(similarity)[best],
    cosine = round(similarity[cbind(best, seq_along(best))], 3), target_only = unname(fit$target_only[best])
  )
}

# How well each factor's use tells the cells in `group` from the others: 0.5 is chance, 1 is perfect.
auc_of <- function(fit, group) {
  apply(fit$h, 1, function(use) {
    unname(stats::wilcox.test(use[group], use[!group], exact = FALSE)$statistic) / sum(group) / sum(!group)
  })
}

lift_table <- function(fit, factor, n = 20) {
  top_features(fit, n = n, by = "lift", factors = factor)
}

section("Simulated counts: 3 000 genes, 4 000 target and 2 000 background cells, 6 shared + 2 target-only programs")
sim <- simulate_contrast()
truth <- sim$w

say("How many factors are the target's alone is found out: bcnmf(target, background, k = 8, loss = \"poisson\")")
fit <- bcnmf(sim$target, sim$background, k = 8, loss = "poisson", maxit = 200)
print(fit)
say("fit$k_targets")
print(fit$k_targets)
save_plot(plot(fit$k_targets), "simulated-target-only")
say("contrast(fit)")
print(contrast(fit))
say("The planted programs and the factors most like them:")
print(match_truth(fit, truth), row.names = FALSE)
say("top_features(fit, n = 3, by = \"lift\", factors = which(fit$target_only))")
print(top_features(fit, n = 3, by = "lift", factors = which(fit$target_only)), digits = 3, row.names = FALSE)

# Which of the two target-only programs a cell really uses more.
planted <- sim$cells$program
save_plot(plot(fit), "simulated-convergence")
save_plot(plot(fit, type = "use", group_by = planted), "simulated-use")
save_plot(plot(contrast(fit)), "simulated-contrast")
save_plot(plot(top_features(fit, n = 8, by = "lift")), "simulated-features")
save_plot(plot(top_features(fit, n = 4, by = "lift", complete = TRUE), type = "dots"), "simulated-features-dots")
save_plot(plot(summary(fit, group_by = planted, stat = "mean")), "simulated-summary")
save_plot(plot(summary(fit, group_by = planted, stat = "mean"), type = "heatmap"), "simulated-heatmap")
save_plot(biplot(fit, factors = which(fit$target_only), matrix = "h", group_by = planted), "simulated-biplot-cells")
save_plot(biplot(fit, factors = which(fit$target_only), matrix = "w"), "simulated-biplot-genes")

say("Contrast strength: bcnmf(target, background, k = 8, beta = 0.2, loss = \"poisson\"), and plain NMF beside it")
contrasted <- bcnmf(sim$target, sim$background, k = 8, beta = 0.2, loss = "poisson", maxit = 200, verbose = FALSE)
plain <- bcnmf(sim$target, k = 8, loss = "poisson", maxit = 200, verbose = FALSE)
print(contrasted)
say("contrast(contrasted)")
print(contrast(contrasted), digits = 3)
say("Cosine of each planted program with the factor most like it, by way of fitting:")
print(data.frame(
  program = colnames(truth), plain = match_truth(plain, truth)$cosine,
  beta_0.2 = match_truth(contrasted, truth)$cosine, default = match_truth(fit, truth)$cosine
), row.names = FALSE)
save_plot(plot(summary(contrasted, group_by = planted, stat = "mean")), "simulated-summary-beta")

section("Cell of origin in acute myeloid leukaemia: methylation of 833 regions in 138 samples")
aml <- example_data("aml", download = NA)
if (is.null(aml)) {
  skip("the AML data are not here. `bcnmf::example_data(\"aml\", download = TRUE)` fetches them; or set BCNMF_DATA.")
} else {
  print(table(colnames(aml)))
  fit <- bcnmf(aml, k = 5, tol = 1e-10, maxit = 1000, seed = 1:10, verbose = FALSE)
  print(fit)
  say("evaluate(fit, aml)")
  print(evaluate(fit, aml), digits = 4, row.names = FALSE)
  say("summary(fit, group_by = colnames(aml), stat = \"mean\"), as shares of each factor:")
  table <- summary(fit, group_by = colnames(aml), stat = "mean")
  shares <- prop.table(xtabs(value ~ factor + group, table), 1)
  print(round(shares, 3))
  healthy <- 1 - shares[, "AML sample"]
  cat("\n", names(which.max(healthy)), " is the healthy factor: ", round(100 * max(healthy), 1),
    " % of its mean use is in the three healthy groups.\n",
    sep = ""
  )
  save_plot(plot(fit), "aml-convergence")
  save_plot(
    plot(summary(fit, group_by = colnames(aml), stat = "mean")),
    "aml-summary"
  )
  save_plot(
    biplot(fit, factors = c(3, 5), matrix = "h", group_by = colnames(aml)),
    "aml-biplot"
  )
  if (requireNamespace("uwot", quietly = TRUE)) {
    set.seed(1) # uwot draws from R's random numbers
    layout <- uwot::umap(t(fit$h), n_neighbors = 10, metric = "cosine", min_dist = 0.3, spread = 1)
    cells <- data.frame(umap1 = layout[, 1], umap2 = layout[, 2], group = colnames(aml))
    save_plot(
      ggplot(cells, aes(umap1, umap2, colour = group)) +
        geom_point(alpha = 0.8, size = 1.6) +
        scale_colour_manual(values = c("#0072B2", "#E69F00", "#009E73", "#CC79A7")) +
        labs(x = "UMAP 1", y = "UMAP 2", colour = NULL) +
        theme_minimal() +
        theme(panel.grid.minor = element_blank()),
      "aml-umap"
    )
  } else {
    skip("the UMAP of the AML samples needs the package uwot.")
  }
}

section("Interferon-stimulated blood cells: 1 000 cells with and 1 000 without interferon-beta")
pbmc <- example_data("pbmc_stim", download = NA)
if (is.null(pbmc)) {
  skip("the blood cells are not here. `bcnmf::example_data(\"pbmc_stim\", download = TRUE)` fetches them; or set BCNMF_DATA.")
} else {
  counts <- cbind(pbmc$ctrl, pbmc$stim)
  depth <- Matrix::colSums(counts)
  counts <- counts[Matrix::rowSums(counts > 0) >= 20, ]
  stimulated <- rep(c(FALSE, TRUE), c(ncol(pbmc$ctrl), ncol(pbmc$stim)))
  condition <- ifelse(stimulated, "stimulated", "control")
  cat("target: ", nrow(counts), " genes x all ", ncol(counts), " cells; background: the ", sum(!stimulated), " control cells\n", sep = "")

  logged <- counts
  logged@x <- log1p(1e4 * logged@x / rep(depth, diff(logged@p)))

  report <- function(fit, name) {
    print(fit)
    separation <- auc_of(fit, stimulated)
    best <- names(which.max(separation))
    cat("\n", best, " separates stimulated from control cells best: AUC ", round(max(separation), 3),
      ".\nIts first 20 genes by lift:\n",
      sep = ""
    )
    print(lift_table(fit, best)[c("rank", "feature", "loading", "lift")], digits = 3, row.names = FALSE)
    # With this target the background's cells are in it as well; the target alone, by condition, says it all.
    save_plot(plot(summary(fit, group_by = condition, set = "target")), paste0("pbmc-summary-", name))
    others <- names(sort(separation[names(separation) != best], decreasing = TRUE))
    save_plot(
      biplot(fit, factors = c(best, others[[1]]), matrix = "h", group_by = c(condition, rep("control", sum(!stimulated)))),
      paste0("pbmc-biplot-", name)
    )
    save_plot(biplot(fit, factors = c(best, others[[1]]), matrix = "w"), paste0("pbmc-genes-", name))
  }

  say("Log-normalised: bcnmf(logged, logged[, control], k = 10, beta = 0.2, seed = 1:5)")
  fit <- bcnmf(logged, logged[, !stimulated], k = 10, beta = 0.2, seed = 1:5, verbose = FALSE)
  report(fit, "log")

  say("Counts: bcnmf(counts, counts[, control], k = 10, beta = 0.2, loss = \"poisson\")")
  fit <- bcnmf(counts, counts[, !stimulated], k = 10, beta = 0.2, loss = "poisson", maxit = 300, verbose = FALSE)
  report(fit, "counts")

  say("Log-normalised, one target-only factor: bcnmf(logged, logged[, control], k = 10, k_target = 1)")
  fit <- bcnmf(logged, logged[, !stimulated], k = 10, k_target = 1, verbose = FALSE)
  report(fit, "target-only")
}

section("Done in ", round(proc.time()[["elapsed"]] - started), " seconds")
cat(length(written), " plots in ", folder, ": ", paste(basename(written), collapse = ", "), "\n", sep = "")
for (what in skipped) cat("skipped: ", what, "\n", sep = "")
