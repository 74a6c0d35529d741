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

legend_on_top <- function() theme(legend.position = "top", legend.justification = "left")

# Of plots with a row for each factor, whose lines along the rows are drawn by themselves.
row_theme <- function(letters) {
  theme_bcnmf() + legend_on_top() + theme(axis.text.y = element_text(size = letters), panel.grid.major.y = element_blank())
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
kind_colours <- c(shared = group_palette[1], "target-only" = group_palette[6])

# Beyond these, hues a golden angle apart in circles of other lightness and chroma: all different, though no one can tell so many apart.
group_colours <- function(n) {
  more <- seq_len(max(0, 2 * (n - length(group_palette))))
  circle <- more %% 6 + 1
  more <- grDevices::hcl(137.508 * more, c(60, 35, 80, 45, 70, 25)[circle], c(50, 75, 62, 38, 82, 58)[circle])
  setdiff(c(group_palette, more), background_grey)[seq_len(n)]
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

# One colour from light to dark, for amounts: it reads in grey and for every kind of colour vision.
amount_colours <- c("#F2F5F8", "#B5D3E9", "#5FA3D0", "#1F6FAE", "#0B3C6F")

# Lift from below to above the mean profile: blue, grey, orange.
lift_colours <- c("#0072B2", "#9CC3DD", "#D9D9D9", "#E8A06B", "#C44E00")

# Legends must leave room for the data: many labels take up to three columns of smaller letters, and long ones lose their
# middle (what tells them apart is often at the end).
legend_columns <- function(n) min(3, ceiling(n / 22))
legend_characters <- function(n) c(28, 16, 10)[legend_columns(n)]
legend_letters <- function(n) c(9, 7, 6)[legend_columns(n)]

short_labels <- function(x, width = legend_characters(length(x))) {
  x <- as.character(x)
  n <- nchar(x)
  long <- n > width
  head <- ceiling((width - 3) / 2)
  tail <- width - 3 - head
  x[long] <- paste0(substr(x[long], 1, head), "...", substr(x[long], n[long] - tail + 1, n[long]))
  x
}

legend_guide <- function(n, ...) guide_legend(ncol = legend_columns(n), ...)

legend_theme <- function(n) {
  rows <- ceiling(n / legend_columns(n))
  theme(legend.text = element_text(size = legend_letters(n)), legend.key.size = unit(min(13, 310 / rows), "pt"))
}

# Sizes in inches and points assume a picture of 7 x 5 inches.
character_inches <- function(points = 8.8) points / 72 * 0.58

legend_inches <- function(labels) {
  n <- length(labels)
  widest <- max(nchar(short_labels(labels)))
  0.2 + legend_columns(n) * (0.3 + widest * character_inches(legend_letters(n)))
}

# Letters as large as the rows of a picture allow.
row_letters <- function(n, inches = 4, largest = 9) max(5, min(largest, 72 * inches / n * 0.85))

row_label_inches <- function(labels, letters) {
  min(28, max(nchar(label_levels(labels)))) * character_inches(letters)
}

wrapped <- function(...) if (length(c(...))) paste(strwrap(paste(c(...), collapse = "; "), 75), collapse = "\n")

# What a picture leaves out, to keep what it shows readable.
first_of <- function(drawn, all, what) {
  if (drawn < all) sprintf("the first%s of %d %s", if (drawn > 1) paste0(" ", drawn) else "", all, what)
}

whole_breaks <- function(limits) unique(floor(pretty(limits)))

# Numbers with as many digits as tell them apart, at their true distances.
distinct_labels <- function(x) {
  known <- x[!is.na(x)]
  gap <- min(Inf, diff(sort(unique(known))))
  for (digits in 7:15) {
    shown <- as.numeric(format(known, digits = digits, decimal.mark = "."))
    if (all(abs(shown - known) <= gap / 100)) break
  }
  with_thousands(x, digits = digits, scientific = FALSE)
}

# Whatever the option OutDec says: two commas would be one too many.
with_thousands <- function(x, ...) format(x, trim = TRUE, big.mark = ",", decimal.mark = ".", ...)

percent_labels <- function(x) paste0(format(100 * x, trim = TRUE), "%")

# Names of factors along an axis: upright when they would touch.
factor_axis <- function(names, inches = 5.8) {
  if (sum(nchar(names) + 2) * character_inches() <= inches) return(theme())
  theme(axis.text.x = element_text(angle = 90, hjust = 1, vjust = 0.5, size = row_letters(length(names), inches, 8.8)))
}

# Target and background one below the other; a background without labels is told apart by the name of its only row.
set_strips <- function(data) {
  labels <- unique(as.character(data$group[data$set == "background"]))
  theme(
    strip.text.y = if (all(labels == "background")) element_blank() else element_text(angle = 0),
    panel.spacing.y = unit(8, "pt")
  )
}
