# Bars on real data; skipped where the data are not.

test_that("AML: the fit reaches the known optimum and finds the healthy factor", {
  aml <- real_data("aml")
  skip_if(!identical(dim(aml), c(833L, 138L)), "another variant of the AML data")
  fit <- bcnmf(aml, k = 5, tol = 1e-10, maxit = 1000, seed = 1:10, verbose = FALSE)
  expect_lte(evaluate(fit, aml)$mean, 0.02154)
  # from anywhere
  expect_lte(max(fit$restarts$objective) / min(fit$restarts$objective), 1.005)
  use <- summary(fit, group_by = colnames(aml), stat = "mean")
  healthy <- tapply(use$value * (use$group != "AML sample"), use$factor, sum) / tapply(use$value, use$factor, sum)
  expect_identical(which.max(healthy), c(bcnmf3 = 3L))
  expect_gte(healthy[["bcnmf3"]], 0.95)
  expect_s3_class(plot(use), "ggplot")
  expect_s3_class(biplot(fit, factors = c(3, 5), matrix = "h", group_by = colnames(aml)), "ggplot")
})

# Genes induced by type I interferon: the hallmark response and the usual blood signatures.
interferon <- c(
  "ISG15", "ISG20", "IFIT1", "IFIT2", "IFIT3", "IFIT5", "MX1", "MX2", "IFI6", "LY6E", "OAS1", "OAS2", "OAS3", "OASL", "IRF7", "IRF9",
  "CXCL10", "CXCL11", "IFI44", "IFI44L", "IFI35", "IFITM1", "IFITM2", "IFITM3", "IFIH1", "RSAD2", "TNFSF10", "PLSCR1", "EPSTI1",
  "SAMD9", "SAMD9L", "DDX58", "HERC5", "HERC6", "STAT1", "STAT2", "XAF1", "EIF2AK2", "USP18", "PARP9", "PARP12", "PARP14", "TRIM22",
  "BST2", "CCL8", "APOBEC3A", "GBP1", "GBP4", "NT5C3A", "RTP4", "UBE2L6", "SP110", "CMPK2", "LAP3", "PNPT1", "LGALS9", "MT2A", "SOCS1"
)

test_that("interferon: contrast finds the response, in log-normalised values and in counts", {
  pbmc <- real_data("pbmc_stim")
  both <- cbind(pbmc$stim, pbmc$ctrl)
  stimulated <- rep(c(TRUE, FALSE), c(ncol(pbmc$stim), ncol(pbmc$ctrl)))
  seen <- Matrix::rowSums(both > 0) >= 20
  log_normalise <- function(x) {
    x@x <- log1p(x@x / rep.int(Matrix::colSums(x), diff(x@p)) * 1e4)
    x
  }
  x <- log_normalise(both)[seen, ]
  fit <- bcnmf(x, log_normalise(pbmc$ctrl)[seen, ], k = 10, beta = 0.2, seed = 1:5)
  separates <- apply(fit$h, 1, function(use) auc(use[stimulated], use[!stimulated]))
  expect_gte(max(separates), 0.95)
  top <- top_features(fit, n = 20, by = "lift", factors = which.max(separates))
  expect_gte(sum(top$feature %in% interferon), 13)
  # where the factors of the response go to and fro unless their steps are shortened
  alone <- expect_no_warning(bcnmf(x[, stimulated], log_normalise(pbmc$ctrl)[seen, ], k = 10, beta = 0.2))
  expect_true(alone$converged)

  counts <- bcnmf(both[seen, ], pbmc$ctrl[seen, ], k = 10, beta = 0.2, loss = "poisson", maxit = 200)
  expect_true(methods::validObject(counts))
  expect_gt(evaluate(counts, both[seen, ])$explained, 0.2)
})
