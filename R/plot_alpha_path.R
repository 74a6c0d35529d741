# How alpha_path() is printed and drawn.

#' @method print bcnmf_alpha_path
#' @export
#' @noRd
print.bcnmf_alpha_path <- function(x, digits = 3, ...) {
  table <- as.data.frame(x)
  # per cent to two places: rises below that are noise, and would turn the columns to powers of ten
  for (name in grep("_rise", names(table), value = TRUE)) table[[name]] <- sprintf("%.2f%%", 100 * table[[name]])
  print(table, digits = digits, row.names = FALSE, ...)
  # some of the rows or columns have no verdict
  verdict <- attr(x, "verdict")
  if (!is.null(verdict)) cat("\n", path_numbers(x), "\n", verdict, "\n", sep = "")
  invisible(x)
}

path_numbers <- function(x) {
  null <- attr(x, "specific_null")
  shuffled <- if (length(null)) {
    spread <- if (length(null) > 1) sprintf(" +/- %.3f", stats::sd(null)) else ""
    sprintf(" (shuffled labels: %.3f%s)", mean(null), spread)
  }
  paste0(sprintf("shared %.3f, specific %.3f", attr(x, "shared"), attr(x, "specific")), shuffled)
}

#' @method as.data.frame bcnmf_alpha_path
#' @export
#' @noRd
as.data.frame.bcnmf_alpha_path <- function(x, ...) {
  data.frame(unclass(x)[names(x)], check.names = FALSE)
}

#' Plot what each contrast strength costs
#'
#' Rise of the held-out loss of target and background over plain NMF, against the strength; dashed for cells with shuffled labels. The horizontal line is the tolerance, the
#' vertical one the selected strength. Beyond the first strength that costs the target 5 % or more nothing is drawn: it would leave no room for what matters.
#'
#' @param x what [alpha_path()] returned.
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` when a column that [alpha_path()] makes is missing, or when there are no rows.
#' @examples
#' sim <- simulate_contrast(100, n_target = 150, n_background = 100, k_shared = 3, k_target = 1, seed = 1)
#' plot(alpha_path(sim$target, sim$background, k = 4, beta = c(0.1, 0.2, 0.4), loss = "poisson"))
#' @method plot bcnmf_alpha_path
#' @export
plot.bcnmf_alpha_path <- function(x, ...) {
  check_no_dots(...)
  verdict <- attr(x, "verdict")
  tolerance <- attr(x, "tolerance")
  table <- check_table(x, c("beta", "target_rise", "background_rise", "selected"), NULL, "alpha_path")
  drawn <- table[table$beta <= last_drawn(table), ]
  lines <- path_lines(drawn)
  selected <- table$beta[table$selected]
  shuffled <- any(lines$labels == "shuffled")
  plot <- ggplot(lines, aes(.data$beta, .data$rise)) +
    geom_vline(xintercept = selected, colour = "grey80", linewidth = 0.8)
  if (!is.null(tolerance)) {
    line <- data.frame(set = factor("target", levels = levels(lines$set)), rise = tolerance)
    plot <- plot + geom_hline(data = line, aes(yintercept = .data$rise), linetype = "dotted", colour = "grey40", linewidth = 0.5)
  }
  plot +
    geom_line(aes(colour = .data$set, linetype = .data$labels), linewidth = 0.7) +
    geom_point(aes(colour = .data$set, shape = .data$labels), size = 2.2, stroke = 0.8) +
    facet_grid(rows = vars(.data$set), scales = "free_y") +
    scale_colour_manual(values = c(target = group_palette[1], background = "grey45"), guide = "none") +
    scale_linetype_manual(values = c("as given" = "solid", shuffled = "dashed"), guide = if (shuffled) "legend" else "none") +
    scale_shape_manual(values = c("as given" = 16, shuffled = 1), guide = if (shuffled) "legend" else "none") +
    scale_x_continuous(breaks = path_breaks(drawn$beta), labels = function(x) vapply(x, format, "")) +
    scale_y_continuous(labels = percent_labels) +
    labs(
      x = "beta, the contrast strength", y = "rise of the held-out loss over plain NMF", linetype = "labels", shape = "labels",
      subtitle = wrapped(verdict),
      caption = if (nrow(drawn) < nrow(table)) sprintf("not drawn: beta above %s, from where the target is lost", format(max(drawn$beta)))
    ) +
    theme_bcnmf() +
    legend_on_top() +
    theme(strip.text.y = element_text(angle = 0), panel.spacing.y = unit(12, "pt"))
}

# A target that has lost so much is not worth a picture.
last_drawn <- function(table, most = 0.05) {
  lost <- table$beta[which(table$target_rise >= most)]
  max(min(lost, Inf), table$beta[table$selected], min(table$beta))
}

# One row per strength, set and kind of labels.
path_lines <- function(table) {
  columns <- c(
    target_rise = "as given", background_rise = "as given", target_rise_null = "shuffled", background_rise_null = "shuffled"
  )
  columns <- columns[intersect(names(columns), names(table))]
  sets <- sub("_.*", "", names(columns))
  lines <- data.frame(
    beta = rep(table$beta, times = length(columns)), rise = unlist(table[names(columns)], use.names = FALSE),
    set = factor(rep(sets, each = nrow(table)), levels = c("target", "background")),
    labels = rep(unname(columns), each = nrow(table))
  )
  lines[is.finite(lines$rise), ]
}

# The strengths that were tried, without those whose numbers would touch.
path_breaks <- function(beta) {
  kept <- beta[1]
  for (b in beta[-1]) if (b - utils::tail(kept, 1) >= 0.05 * max(beta)) kept <- c(kept, b)
  kept
}
