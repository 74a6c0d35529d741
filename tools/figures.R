# Makes the pictures of README.md: Rscript tools/figures.R, from the package's root, about five minutes on two cores.
library(bcnmf)
library(ggplot2)

folder <- "man/figures"
dir.create(folder, showWarnings = FALSE, recursive = TRUE)
save_plot <- function(plot, name, width = 7, height = 3.4) {
  ggsave(file.path(folder, name), plot, bg = "white", width = width, height = height, dpi = 96)
}

cosine <- function(a, b) {
  unit <- function(m) sweep(m, 2, pmax(sqrt(colSums(m^2)), 1e-300), "/")
  crossprod(unit(a), unit(b))
}

# How well the planted target-only programs are found, and at what price, by method and number of factors.
methods <- list(
  "plain NMF" = list(contrast = FALSE),
  "beta = 0.2" = list(contrast = TRUE, beta = 0.2),
  "beta = 0.8" = list(contrast = TRUE, beta = 0.8),
  "k_target = 2" = list(contrast = TRUE, k_target = 2),
  "nothing said" = list(contrast = TRUE)
)

one <- function(seed, k, method) {
  sim <- simulate_contrast(400, 500, 400, k_shared = 6, k_target = 2, share = 0.06, seed = seed)
  how <- methods[[method]]
  fit <- do.call(bcnmf, c(
    list(sim$target, if (how$contrast) sim$background, k = k, loss = "poisson", seed = seed, verbose = FALSE),
    how[names(how) != "contrast"]
  ))
  planted <- sim$w[, c("target1", "target2")]
  data.frame(
    seed = seed, k = k, method = method,
    chosen = sum(fit$target_only), found = mean(apply(cosine(fit$w, planted), 2, max)), target = fit$divergence[["target"]]
  )
}

runs <- expand.grid(seed = 1:5, k = c(4, 6, 8, 10, 12), method = names(methods), stringsAsFactors = FALSE)
table <- do.call(rbind, Map(one, runs$seed, runs$k, runs$method))
plain <- table[table$method == names(methods)[1], ]
table$price <- table$target / plain$target[match(paste(table$seed, table$k), paste(plain$seed, plain$k))]
table$method <- factor(table$method, levels = names(methods))
print(with(table[table$method == "nothing said", ], table(k, chosen)))
print(aggregate(cbind(found, price) ~ k + method, table, function(x) round(mean(x), 3)), row.names = FALSE)

panels <- c(
  found = "Target-only programs found\n(cosine with the truth)",
  price = "Price: the target's divergence,\nrelative to plain NMF (log scale)"
)
long <- rbind(
  data.frame(table[c("seed", "k", "method")], panel = panels[["found"]], value = table$found),
  data.frame(table[c("seed", "k", "method")], panel = panels[["price"]], value = log2(table$price))
)
long$panel <- factor(long$panel, levels = panels)
means <- aggregate(value ~ k + method + panel, long, mean)
palette <- c("grey45", "#56B4E9", "#0072B2", "#D55E00", "black")
# The price is drawn as its log2, so that both panels can have their own scale in one plot.
doublings <- c(0, log2(1.5), 1, log2(3))
axis_breaks <- function(limits) if (is_price(limits)) doublings else pretty(limits)
axis_labels <- function(x) if (identical(as.numeric(x[1]), 0)) paste0(2^x, "x") else format(x, trim = TRUE)
is_price <- function(limits) limits[1] < 0
save_plot(
  ggplot(means, aes(k, value, colour = method)) +
    geom_vline(xintercept = 8, linetype = 3, colour = "grey60") +
    geom_point(data = long, size = 0.9, alpha = 0.4) +
    geom_line(linewidth = 0.8) +
    facet_wrap(~panel, scales = "free_y") +
    scale_colour_manual(values = palette) +
    scale_x_continuous(breaks = c(4, 6, 8, 10, 12)) +
    scale_y_continuous(breaks = axis_breaks, labels = axis_labels) +
    labs(x = "k, number of factors (dotted: as many as there are programs)", y = NULL, colour = NULL) +
    theme_minimal(base_size = 11) +
    theme(
      panel.grid.minor = element_blank(), legend.position = "bottom",
      strip.text = element_text(hjust = 0, face = "bold")
    ),
  "contrast.png", height = 3.6
)

# The picture of the quick start: the same lines as in README.md.
sim <- simulate_contrast(n_features = 400, n_target = 500, n_background = 400, share = 0.06, seed = 1)
fit <- bcnmf(sim$target, sim$background, k = 10, loss = "poisson", seed = 1:3)
print(fit)
planted <- ifelse(sim$h["target1", ] > sim$h["target2", ], "mostly target1", "mostly target2")
save_plot(biplot(fit, factors = which(fit$target_only), matrix = "h", group_by = planted), "quick-start.png", 5.5, 3.4)

# The numbers on interferon-stimulated cells, where the data are here.
pbmc <- example_data("pbmc_stim", download = NA)
if (!is.null(pbmc)) {
  logged <- cbind(pbmc$ctrl, pbmc$stim)
  stimulated <- rep(c(FALSE, TRUE), c(ncol(pbmc$ctrl), ncol(pbmc$stim)))
  logged@x <- log1p(1e4 * logged@x / rep(Matrix::colSums(logged), diff(logged@p)))
  logged <- logged[Matrix::rowSums(logged > 0) >= 20, ]
  best_auc <- function(seed, ...) {
    fit <- bcnmf(logged, ..., k = 10, seed = seed, maxit = 400, verbose = FALSE)
    max(apply(fit$h, 1, function(use) {
      stats::wilcox.test(use[stimulated], use[!stimulated], exact = FALSE)$statistic / sum(stimulated) / sum(!stimulated)
    }))
  }
  control <- logged[, !stimulated]
  print(round(data.frame(
    seed = 1:5,
    plain = sapply(1:5, best_auc),
    beta_0.2 = sapply(1:5, best_auc, background = control, beta = 0.2),
    k_target_1 = sapply(1:5, best_auc, background = control, k_target = 1),
    nothing_said = sapply(1:5, best_auc, background = control)
  ), 3), row.names = FALSE)
}
