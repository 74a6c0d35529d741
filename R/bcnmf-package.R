#' bcnmf: background-contrastive non-negative matrix factorisation
#'
#' Finds programs that vary in a target data set and not in a background: [bcnmf()] fits the model,
#' [summary()][summary.bcnmf], [contrast()], [top_features()], [plot()][plot.bcnmf] and
#' [biplot()][biplot.bcnmf] read it; each of these tables has a `plot()` too.
#'
#' @name bcnmf-package
#' @docType package
#' @keywords internal
#' @importFrom ggplot2 geom_hline scale_linetype_manual vars
#' @importFrom ggplot2 aes dup_axis element_blank element_line element_rect element_text expansion facet_grid facet_wrap
#' @importFrom ggplot2 geom_col geom_crossbar geom_hline geom_line geom_linerange geom_point geom_segment geom_text geom_tile geom_vline
#' @importFrom ggplot2 ggplot guide_legend guides labs margin position_dodge scale_colour_gradientn scale_colour_manual scale_fill_gradientn
#' @importFrom ggplot2 scale_fill_manual scale_shape_manual scale_size_area scale_x_continuous scale_x_discrete scale_x_log10
#' @importFrom ggplot2 scale_x_sqrt scale_y_continuous scale_y_discrete scale_y_sqrt theme theme_minimal unit waiver
#' @importClassesFrom Matrix dgCMatrix
#' @importFrom rlang .data
NULL
