# Snapshots depend on ggplot2's drawing: other versions check only that plots can be built.
expect_drawn <- function(title, plot) {
  testthat::expect_s3_class(plot, "ggplot")
  testthat::expect_error(ggplot2::ggplotGrob(plot), NA)
  if (packageVersion("ggplot2") >= "3.4.0" && packageVersion("ggplot2") < "3.5.0") {
    vdiffr::expect_doppelganger(title, plot)
  } else {
    # Or testthat deletes it as one that no test needs.
    testthat::announce_snapshot_file(name = paste0(gsub("[^a-z0-9]+", "-", tolower(title)), ".svg"))
  }
}

# Names as long as in real life, the telling part at the end.
long_names <- function(n) sprintf("a very long name of a cell type, number %02d", n)

# Without the factors `i`, as updates leave them when they die.
kill <- function(fit, i) {
  fit@w[, i] <- 0
  fit@d[i] <- 0
  fit@h[i, ] <- 0
  if (length(fit@d_background)) fit@d_background[i] <- 0
  fit@h_background[i, ] <- 0
  methods::validObject(fit)
  fit
}
