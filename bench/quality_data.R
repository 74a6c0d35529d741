# Data sets of quality.R. A data set is a function of the seed that returns a list, or NULL where its file is not here:
#   target, background  features x cells (background may be NULL)
#   k, loss             as in bcnmf()
#   k_only, k_with      number of target-only factors, and all factors of that fit
#   paper_alpha         contrast strength of the paper's settings; missing: that method is left out
#   clusters            one label per target cell for the adjusted Rand index
#   condition           is the target cell of the condition? For the AUC; `either = TRUE` when a low use may tell as well as a high one
#   mask                as in bcnmf(), where entries are missing
#   truth, own          planted programs (features x programs), and which of them are the target's alone
#   interferon          count interferon-stimulated genes?
# Only files and simulations; what labels there are goes into scores, never into a fit.

data_file <- function(...) {
  folders <- c(Sys.getenv("BCNMF_DATA"), file.path(bench_dir, "..", "..", "shared", "data"))
  found <- file.path(folders[nzchar(folders)], ...)
  found <- found[file.exists(found)]
  if (length(found)) found[1]
}

# 77 proteins; 15 measurements of each mouse are separate samples. What is missing is 0, as in the paper, or `masked`.
mice_protein <- function(masked) function(seed) {
  file <- data_file("mice_protein", "Data_Cortex_Nuclear.csv")
  if (is.null(file)) return(NULL)
  table <- utils::read.csv(file, fileEncoding = "UTF-8-BOM")
  values <- t(as.matrix(table[vapply(table, is.numeric, NA)]))
  colnames(values) <- table$MouseID
  if (!masked) values[is.na(values)] <- 0
  values <- pmax(values, 0) # one value is negative
  target <- table$Behavior == "S/C" & table$Treatment == "Saline"
  background <- table$Behavior == "C/S" & table$Treatment == "Saline" & table$Genotype == "Control"
  list(
    target = values[, target], background = values[, background], k = 5, loss = "mse", k_only = 1, k_with = 6, paper_alpha = 3,
    clusters = table$Genotype[target], condition = table$Genotype[target] == "Ts65Dn", either = TRUE,
    mask = if (masked) "NA"
  )
}

# Digits 0 and 1 laid over pictures of flowers, against flowers.
demo_images <- function(seed) {
  file <- data_file("demo_images", "target_images.csv")
  if (is.null(file)) return(NULL)
  read <- function(name) as.matrix(utils::read.csv(file.path(dirname(file), name), row.names = 1, check.names = FALSE))
  digit <- utils::read.csv(file.path(dirname(file), "target_labels.csv"))$digit
  list(
    target = read("target_images.csv"), background = read("background_images.csv"), k = 2, loss = "mse", k_only = 2, k_with = 5,
    paper_alpha = 2, clusters = digit, condition = digit == max(digit), either = TRUE
  )
}

aml <- function(seed) {
  values <- bcnmf::example_data("aml", download = NA)
  if (is.null(values)) return(NULL)
  list(target = values, k = 5, loss = "mse", condition = colnames(values) %in% c("GMP", "LMPP", "MEP"))
}

log_normalise <- function(x) {
  x@x <- log1p(x@x / rep.int(Matrix::colSums(x), diff(x@p)) * 1e4)
  x
}

# The 2 000 genes that vary most: chosen over all cells, without labels.
most_variable <- function(x, n = 2000) {
  mean <- Matrix::rowMeans(x)
  utils::head(order(Matrix::rowMeans(x^2) - mean^2, decreasing = TRUE), n)
}

pbmc <- function(counts, alone) {
  function(seed) {
    cells <- bcnmf::example_data("pbmc_stim", download = NA)
    if (is.null(cells)) return(NULL)
    both <- cbind(cells$stim, cells$ctrl)
    seen <- Matrix::rowSums(both > 0) >= 20
    if (counts) {
      stim <- cells$stim[seen, ]
      ctrl <- cells$ctrl[seen, ]
    } else {
      genes <- which(seen)[most_variable(log_normalise(both)[seen, ])]
      stim <- log_normalise(cells$stim)[genes, ]
      ctrl <- log_normalise(cells$ctrl)[genes, ]
    }
    data <- list(
      target = if (alone) stim else cbind(stim, ctrl), background = ctrl, k = 10, loss = if (counts) "poisson" else "mse",
      k_only = 1, k_with = 11, paper_alpha = 1, interferon = TRUE
    )
    if (!alone) data$condition <- rep(c(TRUE, FALSE), c(ncol(stim), ncol(ctrl)))
    data
  }
}

# Genes induced by type I interferon: the hallmark response and the usual blood signatures (as in tests/testthat/test-real-data.R).
interferon_genes <- c(
  "ISG15", "ISG20", "IFIT1", "IFIT2", "IFIT3", "IFIT5", "MX1", "MX2", "IFI6", "LY6E", "OAS1", "OAS2", "OAS3", "OASL", "IRF7", "IRF9",
  "CXCL10", "CXCL11", "IFI44", "IFI44L", "IFI35", "IFITM1", "IFITM2", "IFITM3", "IFIH1", "RSAD2", "TNFSF10", "PLSCR1", "EPSTI1",
  "SAMD9", "SAMD9L", "DDX58", "HERC5", "HERC6", "STAT1", "STAT2", "XAF1", "EIF2AK2", "USP18", "PARP9", "PARP12", "PARP14", "TRIM22",
  "BST2", "CCL8", "APOBEC3A", "GBP1", "GBP4", "NT5C3A", "RTP4", "UBE2L6", "SP110", "CMPK2", "LAP3", "PNPT1", "LGALS9", "MT2A", "SOCS1"
)

# 6 shared and 2 target-only programs; another data set for each seed. 6 000 counts per gene in the target, which is what a program with
# 1 % of the counts needs to be known at all (see the row "known coefficients").
simulated <- function(k, share = 0.05, depth = 3000, n_target = 1000, n_background = 500, useless = FALSE) {
  function(seed) {
    draw <- function(seed) {
      bcnmf::simulate_contrast(500, n_target, n_background, share = share, depth = depth, seed = seed)
    }
    sim <- draw(seed)
    background <- if (useless) draw(seed + 1e6)$background else sim$background
    list(
      target = sim$target, background = background, k = k, loss = "poisson", k_only = 2, k_with = k, paper_alpha = 1,
      truth = sim$w, truth_h = if (!useless) cbind(sim$h, sim$h_background),
      own = startsWith(colnames(sim$w), "target")
    )
  }
}

simulations <- function() {
  grid <- list(
    "share 0.02" = list(share = 0.02), "share 0.05" = list(), "share 0.15" = list(share = 0.15),
    "share 0.05 and depth 300" = list(depth = 300), "share 0.05 and 4 x the target as background" = list(n_background = 4000),
    "share 0.05 and 0.1 x the target as background" = list(n_background = 100), "share 0.05 and useless background" = list(useless = TRUE)
  )
  sets <- list()
  for (k in c(8, 4)) {
    for (name in names(grid)) sets[[sprintf("sim K = %d: %s", k, name)]] <- do.call(simulated, c(k = k, grid[[name]]))
  }
  sets
}

data_sets <- c(
  list(
    "mice_protein" = mice_protein(masked = FALSE), "mice_protein masked" = mice_protein(masked = TRUE), "demo_images" = demo_images, "aml" = aml,
    "pbmc log" = pbmc(counts = FALSE, alone = FALSE), "pbmc counts" = pbmc(counts = TRUE, alone = FALSE),
    "pbmc log: stimulated alone" = pbmc(counts = FALSE, alone = TRUE),
    "pbmc counts: stimulated alone" = pbmc(counts = TRUE, alone = TRUE)
  ),
  simulations()
)
