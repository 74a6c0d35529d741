# What all plots share: one theme and one set of colours.

theme_bcnmf <- function(base_size = 11) {
  theme_minimal(base_size = base_size) +
    theme(
      panel.grid.minor = element_blank(),
      strip.text = element_text(hjust = 0, face = "bold"),
      plot.title.position = "plot",
      plot.subtitle = element_text(colour = "grey30"),
      axis.title.x = element_text(margin = margin(t = 8)),
      axis.title.y = element_text(margin = margin(r = 10)),
      legend.key.size = unit(0.9, "lines"),
      # saved pictures are white in dark viewers too; the last label of an axis has room
      plot.background = element_rect(fill = "white", colour = NA),
      plot.margin = margin(6, 14, 6, 6)
    )
}

# Okabe and Ito's colours, then the colours farthest from all before them for normal, deuteranopic and
# protanopic eyes. The grey of the background and the white of the paper were kept at a distance too.
group_palette <- c(
  "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#6B240C",
  "#D0E695", "#3D14AB", "#562E4D", "#66423D", "#661072", "#96AC56", "#DCE0BE", "#836936",
  "#DDD9F9", "#3E7675", "#738BEB", "#D7CC5E", "#3155BA", "#A3BF87", "#704E84", "#924706",
  "#B6B3D2", "#3C2692", "#87975C", "#7C6B4F", "#BF78BB", "#C79D39", "#F97B98", "#FDD2DA",
  "#4B4E25", "#C9C4F6", "#8E359B", "#693F4E", "#60225D", "#5E93D9", "#F6C247", "#366270"
)
background_grey <- "#B3B3B3"

group_colours <- function(n) {
  if (n <= length(group_palette)) return(group_palette[seq_len(n)])
  c(group_palette, grDevices::colorRampPalette(group_palette)(n - length(group_palette)))
}

# Colours by label: the unlabelled background is grey.
label_colours <- function(labels, grey = character()) {
  colours <- stats::setNames(rep(background_grey, length(labels)), labels)
  coloured <- setdiff(labels, grey)
  colours[coloured] <- group_colours(length(coloured))
  colours
}

# Half way to white: the background's version of a group's colour.
lighten <- function(colours, by = 0.55) {
  rgb <- grDevices::col2rgb(colours) / 255
  rgb <- rgb + (1 - rgb) * by
  grDevices::rgb(rgb[1, ], rgb[2, ], rgb[3, ])
}

# Legends must leave room for the data: long labels lose their middle (what tells them apart is often at the
# end), many labels take several columns.
short_labels <- function(x, width = if (length(x) > 20) 18 else 28) {
  x <- as.character(x)
  n <- nchar(x)
  long <- n > width
  head <- ceiling((width - 3) / 2)
  tail <- width - 3 - head
  x[long] <- paste0(substr(x[long], 1, head), "...", substr(x[long], n[long] - tail + 1, n[long]))
  x
}

legend_guide <- function(n, ...) {
  columns <- max(1, ceiling(n / 20))
  guide_legend(ncol = columns, label.theme = element_text(size = if (columns > 1) 7.5 else 9), ...)
}

whole_breaks <- function(limits) unique(floor(pretty(limits)))

percent_labels <- function(x) paste0(format(100 * x, trim = TRUE), "%")

# Names of factors along an axis: upright when they would touch.
factor_axis <- function(names) {
  if (sum(nchar(names) + 2) > 90) {
    theme(axis.text.x = element_text(angle = 90, hjust = 1, vjust = 0.5))
  } else {
    theme()
  }
}
