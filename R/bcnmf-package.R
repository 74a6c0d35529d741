#' bcnmf: background-contrastive non-negative matrix factorisation
#'
#' Finds programs that vary in a target data set and not in a background: [bcnmf()] fits the model,
#' [summary()][summary.bcnmf], [contrast()], [top_features()], [plot()][plot.bcnmf] and
#' [biplot()][biplot.bcnmf] read it.
#'
#' @name bcnmf-package
#' @docType package
#' @keywords internal
#' @importFrom ggplot2 aes element_blank element_rect element_text expansion facet_wrap geom_col geom_line geom_point geom_text ggplot
#' @importFrom ggplot2 guide_legend labs margin scale_colour_manual scale_fill_manual scale_shape_manual
#' @importFrom ggplot2 scale_x_continuous scale_x_log10 scale_y_continuous theme theme_minimal unit
#' @importClassesFrom Matrix dgCMatrix
#' @importFrom rlang .data
NULL
