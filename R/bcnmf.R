#' Background-contrastive non-negative matrix factorisation
#'
#' Finds `k` non-negative gene programs that describe a target (disease, treated cells) well and a matched background
#' (controls) badly. Without a background it is plain NMF.
#'
#' @details
#' The target `X` and the background `Y` (features x cells) are factorised with one basis `w`,
#' `X ~ w %*% diag(d) %*% h` and `Y ~ w %*% diag(d_background) %*% h_background`. Two ways to contrast:
#'
#' * **Contrast strength** (`alpha`, arXiv 2602.22387). The fit minimises `D(X) - alpha * D(Y)` over `w`, while the coefficients
#'   of both sets are their best response to `w`. What matters is the scale-free strength `beta`, which is `alpha` times the
#'   background's size relative to the target's (sums of squares for `"mse"`, sums of counts otherwise); `fit$beta` has it whichever was given.
#'   Up to about 0.3 contrast costs the target's fit little. From about 1 on the target is no longer fitted.
#' * **Target-only factors** (`k_target`). The last `k_target` factors are closed to the background, which is *explained*
#'   by the others: the fit minimises `D(X) + lambda * D(Y)`. No strength has to be chosen, and programs come out as shared or
#'   target-only. The other factors must be enough for all that is shared: take `k` generously.
#'
#' **Which of them, unless you say.** With a background and no `alpha`, `beta` or `k_target`, [select_k_target()] counts by held-out entries how many factors are the target's alone, and they are fitted as such.
#' If there are none, [alpha_path()] looks for the strongest contrast that costs the target at most 1 % of its held-out fit; and if the two sets share nothing, so that contrast cannot help, the fit is plain NMF.
#' A message says what was chosen and why, unless `verbose = FALSE`; the tables are in `fit$k_targets` and `fit$alpha_path`. This takes about as long as two or three plain fits of a thousand cells, and more where those need few sweeps or `k` is too small (`bench/RESULTS-choices.md`); Ctrl-C
#' there ends the call, as nothing has been fitted yet. On our benches (`bench/RESULTS-quality.md`) target-only factors found what contrast strengths missed, from every seed, at the price of a per cent of the target's fit.
#' The published contrast is `alpha = ` a number.
#'
#' **Fewer factors than programs.** What both sets share and too few factors leave unexplained would be taken up by the target-only ones: they mix it with the target's own programs, or none pays at all. So
#' target-only factors that are counted do not depend on `k`. As long as twice as many factors predict held-out entries better by a tenth of what they predict better than one factor (up to four times `k`), and then as long as one more target-only factor does, they are looked for
#' beside more. Where that finds what fits with `k` do not, the fit *holds* the target-only loadings of a full fit with so many factors, and only the shared ones adapt to `k`. A message and the printed model say so, `fit$held` names them, and `fit$beside`
#' is the number of factors that they are from, with which there is room for all. On simulated counts of eight programs that brings two target-only ones with 2.5 % of the counts each from a cosine of 0.27 to 0.99 at `k = 4`. Shared factors are fewer then: the target
#' is described the better the nearer `k` is to `fit$beside`. A number of your own, `k_target = 2`, or a start of your own is fitted as it is.
#'
#' **A bound for counts.** With `"poisson"`, `"nb"` and `"zinb"` the published objective has no lower bound: as soon as `alpha` times a feature's counts in the background exceed
#' those in the target, its loadings run to zero, the background's divergence to infinity, and the target's fit is lost with it. So a contrasted background
#' has a fixed ambient rate besides its factors: the part `ambient` of each cell's counts, in the background's mean profile (of cells with `weights`, each as often as it counts). Then its divergence can not exceed that of
#' the ambient rate alone, and the objective not fall below `-alpha` times that; the updates stay what they are and go downhill as before. A larger `ambient` keeps more of
#' the target's fit under a strong contrast, and contrasts less. `ambient = 0` is the published objective.
#'
#' **Starts and weight of target-only factors.** From random numbers, target-only factors may settle on a part of the shared programs. So with `k_target` fits start from
#' singular vectors (`init = "nndsvd"`), each kind of factor where it belongs, which in our trials found small target-only programs from every seed. And the background counts twice what
#' would make both sets count the same, which keeps the shared factors from taking over a part of the response; half of `fit$lambda` weighs them the same.
#' One response in all kinds of cells is summed up by `k_target = 1`, even where held-out entries say that it needs more factors than one.
#'
#' A weak contrast strength is not always a gain, and with few factors it can blur a program that plain NMF finds. `vignette("get-started", package = "bcnmf")` compares the two ways.
#'
#' `D` is the sum of squared errors (`"mse"`) or the generalised Kullback-Leibler divergence, the Poisson deviance halved (`"poisson"`), or the same for negative binomial
#' counts (`"nb"`): minus their log-likelihood, less that of Poisson counts fitted exactly, so that it is the Poisson divergence where nothing is dispersed, and comparable between dispersions. With
#' `"zinb"` it is minus the log-likelihood of such counts of which some are lost, less the same.
#' All updates minimise a majoriser. After each update the columns of `w` are rescaled to sum to 1, which changes
#' no product. A feature that is zero in the whole target gets zero loadings, unless a background that is explained has it.
#'
#' Penalties are free of the data's unit and size: a strength of 1 is about as strong as the data term is for
#' a typical entry. `L1` pulls small entries towards 0, `L2` large ones. They act in the steps, on factors as these are scaled then; as `w` is rescaled after each, which changes what they cost, the objective of a fit
#' with penalties may rise a little from sweep to sweep, and [predict()][predict.bcnmf] shrinks coefficients once more. With `loss = "poisson"` the likelihood itself counts the sum of all rates, so that `L1` shrinks a factor as a whole,
#' and rescaling takes that back: there is a warning.
#'
#' The same input and `seed` give the same bits with any number of `threads` on one kind of processor, and R's own random numbers are never touched.
#' Multiplicative updates converge slowly, so a sweep takes several steps where they are cheap (Gillis and Glineur 2012): five of `h` and five
#' of `w` with `"mse"`, two and one with `"poisson"`, three and one with `"nb"` and `"zinb"`. With `"mse"` several steps are passes of coordinate descent, which sets one coefficient after another to its best
#' value (Hsieh and Dhillon 2011) and goes much further than as many multiplicative steps; what a contrast adds for `w` is concave, and replaced by its tangent before each pass. (`w` of online mini-batches,
#' and `h` of cells with held-out entries, take multiplicative steps.) Without penalties no step can go uphill, and `steps = 1` is the published algorithm. Some hundred sweeps are normal.
#'
#' A step of `w` in a contrast goes downhill for the background's coefficients as they are, and these give way to it. Coordinate descent would go to and fro then without coming to rest, so a factor whose steps turn round goes
#' a part of its way only, and more again as long as its steps have one direction (as the learning rates of Jacobs 1988). What a fit may come to rest at is not changed by that.
#'
#' Between two sweeps `w` goes on in the direction of its last step (`accelerate`; extrapolation with restart after Ang and Gillis 2019, of the logarithms of loadings where steps are multiplicative), further and further until the objective rises, and then
#' starts again with half of that. This takes a third to a half off the sweeps that a fit needs, at no cost; in exchange the objective in `fit$history`, which is that of where `w` has gone on to, may rise a little now and then.
#' The model is always what the last step itself has led to. Mini-batches are not accelerated, nor are the fits of [select_rank()], [select_k_target()] and [select_loss()], which should not follow the entries that they see too far.
#'
#' With `device = "cuda"` the sweeps run on an NVIDIA GPU: the same steps of the same algorithm in single precision, so that a fit takes the same way up to rounding, and two runs on one GPU give the same bits. It
#' needs NVIDIA's driver (525.60 or newer) and a GPU of 2017 or later (compute capability 7.0), and nothing else. Data that have no room in its memory are copied in parts in every sweep, while it is at work on the part before. Masks, mini-batches,
#' modalities with losses of their own, double precision and more than 128 factors need the CPU, as do the short fits that choose `k`, `k_target`, `alpha` or `loss`. Should the GPU
#' fail, the fit goes on on the CPU with the `w` that it had, with a warning.
#'
#' Several starts are fitted side by side, as many as there are threads and (512 MB, or half of what the data take) memory for; what comes out does not depend on it.
#'
#' With `init = "nndsvd"` fits start from the singular vectors of the target (Boutsidis and Gallopoulos 2008), found by a randomised method (Halko, Martinsson and Tropp 2011)
#' that keeps sparse data sparse, looks at 5 000 evenly spaced cells of each set at most, and costs a few sweeps. Of each pair the larger non-negative part is taken, and raised to a random part of the feature's
#' share of all counts where it is less, which is all that seeds differ in. With counts features are first scaled by the root of their share. With `k_target` the shared
#' factors start from the background's singular vectors, the target-only ones from those of the target outside of their span. In our trials such
#' starts were ahead of random ones for the first hundred sweeps and the seeds ended closer together; the best of ten random starts ended as low or a little lower.
#'
#' A factor can die, or come out twice. In the first half of the sweeps (after 10, 20 and 40, and when the fit would stop) such factors are started anew from what the
#' model leaves unexplained of the cells that it explains worst; `fit$restarts$revived` counts them. A factor is dead with less than a millionth of the
#' target, and a duplicate when the cosine of its loadings with another's is above 0.999. Those that a model still has are warned about, printed, and
#' listed in `fit$dead` and `fit$duplicates` (names of duplicates, with the factors they repeat). Continued fits start none anew.
#'
#' **Mini-batches.** A sweep of the full batch goes through all cells for one step of `w`. With `batch_size`, `w` moves after every so many target cells and the background's share of
#' them, in an order drawn anew for every pass, from sums in which old batches fade out (stochastic majorise-minimise: Mairal et al. 2010; online EM: Cappé and Moulines 2009). Many cells give a
#' good `w` after one to three passes that way; some ten thousand and more are where it pays, with batches of some hundred. It ends a little above the full batch, as the batches' noise stays in `w`: to
#' go on from it with full sweeps say `bcnmf(..., init = fit, batch_size = NULL)`. With few cells there are too few batches in a pass, and the full batch is as fast. At the end the
#' coefficients of all cells are fitted to the last `w`, and the divergences are those of that model; before, a row of `fit$history` is what cells lost when the pass came to them. No factor is
#' started anew. `update = "pass"` moves `w` after the whole pass, which is the full batch's result up to rounding. Seeds of random starts also draw the order, other starts have one order.
#' With `"nb"` and `"zinb"` dispersions are estimated once a pass, and with them what features lose: some ten passes from scratch, or go on from a model that has them.
#'
#' **Dropout.** With `loss = "zinb"` a count is lost with a probability of its feature (`zi = "feature"`) or of its cell (`"cell"`), and a zero is there instead; the others are negative binomial. Fits are made by
#' expectation-maximisation: zeros count as often as they are likely to have been counted, given the model of the sweep before, and the probabilities become the parts that were lost. `w`, `d` and `h` are then of counts before
#' any was lost; `(1 - dropout) * fitted` of them are expected to be seen. Where target and background share dispersions they share what features lose. A fit begins as if nothing were dispersed or lost; when that
#' is let in, after some sweeps, the objective may rise once. Small dispersions, dropout and rates all explain zeros, so both are estimated together, and well only for features with enough counts: one more count that was not lost is
#' taken as known of each feature or cell, which lets the probability go to 0 where nothing speaks for dropout (the objective has this prior in it). A contrast acts on a background whose lost counts are those of its own best fit. Counts of
#' unique molecules seldom need this: compare with `"nb"` before believing in dropout.
#'
#' **Missing entries.** With `mask` entries are left out of all sums: of `h`, of `w`, of divergences and of predictions, with any loss, in any number and pattern; a feature may lack some cells and a cell some
#' features, each its own. What the data hold there makes no difference. [impute()] gives the fitted values of those entries. To let them count as zeros is to say that they are known to be zero, and factors may then describe which are missing.
#' A feature without any known entry has no loadings, a cell without any no coefficients. Sums that decide on a scale (penalties, the ambient rate, starts) are completed by what the
#' known entries say of features and cells. With `"mse"` a cell with missing entries has its own least squares problem, and features of which less than half is missing take the steps of whole ones, with missing entries as they were fitted before
#' (as in EM); others take multiplicative steps. Everything that compares models by entries that are held out holds out known ones.
#'
#' **Weights.** A feature or cell with a weight of 2 counts as if it were there twice, penalties included. One with a weight of 0 has no word in any other's loadings or coefficients, and still gets the best for itself: cells to be placed in a model that others made,
#' features to be described by factors that others made. Only the ratios of weights matter: those of each kind are divided by their mean. Divergences, and `beta`, are then weighted sums.
#'
#' **Several modalities** of the same cells, such as RNA and surface proteins: `object` and `background` are then lists of matrices with the names of the modalities. They are factorised with one `h` for all, and a `w` that has
#' the features of all ([modalities()] takes it apart); that is the published variant for two of them, for any number. They count the same, whatever their features and totals, unless `weights = list(modalities = )` says otherwise: `"none"` leaves them as
#' they are, as published, and numbers say how often. They have one loss, or one each, as in `loss = c(rna = "nb", protein = "mse")`: the objective is the sum of their divergences, each times its weight; `h` takes steps that go down in
#' the sum, and the features of modalities with squared errors come last in `w`. What a modality does not know of some cells can be `NA` with `mask = "NA"`. The matrices are copied into one.
#'
#' **Depth.** The coefficients of a cell that was sequenced twice as deep are twice as large. With `size_factors` the fitted values of cell `j` are `size_factors[j] * w %*% diag(d) %*% h[, j]`, so that
#' `h`, and all that is made of it, compares between cells of different depth, while counts stay counts. Without penalties on `h` nothing else changes: the factors and the divergences are the same, in the order (and with the names) of the new `d`. `"library"` takes the cells' sums over the features that are fitted,
#' relative to the mean of the target's.
#'
#' @section Interrupting: Ctrl-C or the stop button ends the call at once and loses nothing, see [interrupted_fit()].
#'
#' @section Errors: of class `bcnmf_error`, before any work starts: a target or background that is empty, not numeric, all zero, or holds missing,
#'   infinite or negative values (missing ones unless `mask` says so); features that differ; `k` below 1 or above the target's smaller side; any other argument out of
#'   its range, with its name and value; unknown arguments. Warnings are of class `bcnmf_warning`: `beta` of 1 or more,
#'   a contrast that raises the target's divergence to more than 1.1 times what plain NMF reaches (with an `alpha` that does not, or hardly; `fit$price` has the ratio, to a plain fit of at most 50 sweeps, which may end a per cent or two above what more would reach),
#'   values that are not counts with the losses of counts, dead or duplicate factors, and a fit that left the finite numbers (the model before that sweep is returned).
#'
#' @param object the target, which may also be given as `target`. Features x cells: a numeric matrix, a sparse matrix of the Matrix package (a
#'   `dgCMatrix` is read in place, others are converted without becoming dense), a matrix on disk (DelayedMatrix, BPCells; read into
#'   memory) or a data frame of numbers. Or a named list of these, several modalities of the same cells. For objects that hold cells see [bcnmf.Seurat()] and [bcnmf.SummarizedExperiment()].
#' @param background the same features x background cells, or `NULL` for plain NMF.
#' @param ... arguments of the methods; unknown ones are refused.
#' @param k number of factors, at most the target's smaller side; or `"auto"`, for the one that [select_rank()] selects with its defaults (`k_target` is kept),
#'   whose table is then in `fit$ranks`. Where target-only factors are counted too, such a factor is added to these as long as that predicts held-out entries better, also better than one more
#'   shared factor: a program of the target that is weak among all cells is found so.
#' @param alpha contrast strength of the paper, 0 or more. Or `"auto"` for the strongest that costs the target at most 1 % of its held-out fit, and none where contrast cannot
#'   help: see [alpha_path()], whose table is then in `fit$alpha_path`. That is also what `k_target = 0` alone gives.
#' @param beta contrast strength free of the data's scale, instead of `alpha`; `"auto"` as there.
#' @param k_target number of factors reserved for the target, instead of `alpha` or `beta`; or `"auto"`, for the number that [select_k_target()] selects with its defaults, whose table is then in
#'   `fit$k_targets`. Without `alpha`, `beta` and `lambda` that is the default; where it is 0, `alpha` is `"auto"`.
#' @param lambda weight of the background when `k_target > 0`. By default the background counts twice what would make both sets count the same (their sums of squares with `"mse"`, of counts otherwise).
#' @param loss `"mse"` for values like log-normalised expression or methylation, `"poisson"` for counts, `"nb"` for counts that vary more than Poisson's:
#'   negative binomial with mean `mu` and variance `mu + dispersion * mu^2` (Gouvert, Oberlin and Fevotte 2020). It looks at zeros as well, and takes several times as long as `"poisson"`.
#'   `"zinb"` for such counts of which some are lost (zero-inflated negative binomial), which takes three to five times as long again.
#'   Or `"auto"`, for the one of these that [select_loss()] selects with its defaults, whose table is then in `fit$losses`. For several modalities also one each, by name: see Details.
#' @param seed one or more whole numbers: a fit is started from each and the one with the best objective is returned.
#'   All are listed in `fit$restarts`.
#' @param init how a seed makes a start: `"random"` takes random numbers for `w`, `"nndsvd"` the non-negative parts of singular vectors (see
#'   details). `NULL` is `"nndsvd"` with target-only factors, else `"random"`. Or where to start instead: a matrix (features x `k`) for `w`, whose rows are matched by name where both have feature names, a list of such matrices, or a model made by `bcnmf()`,
#'   which is then continued with its own settings (all but `maxit`, `threads`, `device` and `verbose`) unless others are given.
#' @param tol a fit has converged when the correlation distance of `w` between two sweeps, `1 - cor`, falls below this. Where `w` moves after every batch: when a pass lowers
#'   the objective by less than this part of it (0: never), 0.001 by default.
#' @param maxit most sweeps per start, or passes in mini-batches.
#' @param L1,L2 penalties on `w` and `h`: two numbers, or one for both.
#' @param precision `"single"` is about twice as fast, `"double"` for a reference. Sums that decide are in double either way.
#' @param threads number of threads. By default the option `bcnmf.threads`, else all that the machine gives (two under `R CMD check`).
#' @param device where the fit runs: `"cpu"`; `"cuda"` for an NVIDIA GPU, or `"cuda:2"` for the second of several, an error where it cannot be used; `"auto"` for a GPU where
#'   there is one that can do what is asked for and the data are large, with a line that says which it is. By default the option `bcnmf.device`, else `"cpu"`. See Details and [bcnmf_devices()].
#' @param verbose show a progress bar? By default the option `bcnmf.verbose`, else only in interactive use.
#' @param steps steps of `h` and of `w` in a sweep, one or two whole numbers; `NULL` for what suits the loss. `steps = 1` is the algorithm as published, with
#'   `"mse"` more are passes of coordinate descent (see details).
#'   With counts `w` takes one step in any case.
#' @param accelerate whether `w` goes on in the direction of its last step between two sweeps (see details); `NULL` for yes unless `steps` are given. Mini-batches do not. Factors
#'   of a contrast that go a part of their step do not either.
#' @param dispersion with `loss = "nb"` or `"zinb"`: `"gene"` estimates one dispersion a feature by maximum likelihood every few sweeps, `"global"` one for all; or known numbers, one or one
#'   a feature, 0 for Poisson counts. Estimates stay between 1e-6 (where the feature is taken for Poisson, 0, from then on) and 1000. `fit$dispersion` has them, by feature.
#' @param dispersion_shared whether target and background have the same dispersions: those of what `w` describes, the target, and with `k_target` the background too, by its weight. `FALSE` estimates
#'   the background's for themselves (`fit$dispersion_background`).
#' @param zi with `loss = "zinb"`: whether each `"feature"` or each `"cell"` has a probability of dropout. `fit$dropout` has them by name, `fit$dropout_background` the background's, where it has its own.
#' @param ambient with `alpha` or `beta` and counts: the part of a background cell's counts that is taken as ambient, there in the background's
#'   mean profile without any factor. It keeps a strong contrast bounded; 0 is the published objective. See Details.
#' @param mask which entries are missing: `"NA"` for those that are `NA`; `"zeros"` for all zeros (and `NA`); a logical or numeric matrix, dense or sparse, of the target's shape, `TRUE` or not 0 where the target's
#'   entries are missing (a larger one is matched by names, and is for both sets where it has the background's cells too; the data are copied); or a list of `target` and `background` with one of these each. `NULL`: none, and `NA` is an error.
#' @param weights how often features and cells count: a list of `features`, `cells` (of the target) and `background` (its cells), each a vector of numbers of at least 0, or left out. With
#'   several modalities also `modalities`: `"equal"`, the default where `features` have none, `"none"`, or a number for each. See Details.
#' @param size_factors the depth of each cell: `"library"`, or positive numbers, one a target cell, or a list of such vectors, `target` and `background`. See Details.
#' @param batch_size number of target cells in a mini-batch, about; `NULL` for the full batch. See Details.
#' @param update with `batch_size`, which it needs: whether `w` moves after every `"batch"` or after every `"pass"`.
#'
#' @return A model of class [`bcnmf`][bcnmf-class], factors by decreasing `d`.
#' @references Li, Yang and Li (2026), Disentangling shared and target-enriched topics via background-contrastive non-negative matrix
#'   factorization, arXiv 2602.22387.
#'   Lee and Seung (2001), Algorithms for non-negative matrix factorization.
#'   Gouvert, Oberlin and Fevotte (2020), Negative binomial matrix factorization.
#'   Lambert (1992), Zero-inflated Poisson regression, with an application to defects in manufacturing.
#'   Boutsidis and Gallopoulos (2008), SVD based initialization: a head start for nonnegative matrix factorization.
#'   Halko, Martinsson and Tropp (2011), Finding structure with randomness: probabilistic algorithms for constructing approximate matrix decompositions.
#'   Mairal, Bach, Ponce and Sapiro (2010), Online learning for matrix factorization and sparse coding.
#'   Cappé and Moulines (2009), On-line expectation-maximization algorithm for latent data models.
#'   Jacobs (1988), Increased rates of convergence through learning rate adaptation, *Neural Networks* 1.
#'   Hsieh and Dhillon (2011), Fast coordinate descent methods with variable selection for non-negative matrix factorization.
#'   Ang and Gillis (2019), Accelerating nonnegative matrix factorization algorithms using extrapolation.
#'   Gillis and Glineur (2012), Accelerated multiplicative updates and hierarchical ALS algorithms for nonnegative matrix factorization.
#' @seealso [summary()][summary.bcnmf] and [biplot()][biplot.bcnmf] to read a model, [contrast()], [top_features()],
#'   [predict()][predict.bcnmf] for new cells, [simulate_contrast()] for data with known programs.
#' @examples
#' sim <- simulate_contrast(200, n_target = 300, n_background = 200, seed = 1)
#'
#' # how many programs are the target's alone is found out
#' fit <- bcnmf(sim$target, sim$background, k = 8, loss = "poisson", maxit = 100)
#' fit
#' contrast(fit)
#' head(top_features(fit, n = 3, by = "lift"))
#'
#' # or said; and the contrast of the paper
#' fit <- bcnmf(sim$target, sim$background, k = 8, k_target = 2, loss = "poisson", maxit = 100)
#' fit <- bcnmf(sim$target, sim$background, k = 5, alpha = 0.2, loss = "poisson", maxit = 100)
#'
#' # entries that nobody knows, and depth
#' x <- as.matrix(sim$target)
#' x[sample(length(x), 1000)] <- NA
#' fit <- bcnmf(x, sim$background, k = 8, k_target = 2, loss = "poisson", mask = "NA", size_factors = "library", maxit = 100)
#' length(impute(fit)@x)
#'
#' # counts that vary more than Poisson's, of which some were lost
#' lossy <- sim$target * rbinom(length(sim$target), 1, 0.7)
#' fit <- bcnmf(lossy, k = 6, loss = "zinb", maxit = 60)
#' summary(fit$dropout)
#'
#' # many cells, few passes
#' fit <- bcnmf(sim$target, sim$background, k = 8, k_target = 2, loss = "poisson", batch_size = 20, maxit = 3)
#' @export
bcnmf <- function(object, ...) {
  if (missing(object)) return(eval(target_first(match.call(), rlang::current_env()), parent.frame()))
  UseMethod("bcnmf")
}

# The same call with `target = `, by which name the first argument may be given too, as the first argument.
target_first <- function(call, env) {
  if (!"target" %in% names(call)) {
    abort_bcnmf("The target is missing: the data to factorise.", arg = "object", call = env)
  }
  names(call)[names(call) == "target"] <- "object"
  call
}

#' @rdname bcnmf
#' @method bcnmf default
#' @export
bcnmf.default <- function(object, background = NULL, k = NULL, alpha = NULL, beta = NULL, k_target = NULL, lambda = NULL,
                          loss = c("mse", "poisson", "nb", "zinb"), seed = 1, init = NULL, tol = if (is.null(batch_size) || identical(update, "pass")) 1e-8 else 1e-3, maxit = 1000,
                          L1 = 0, L2 = 0, precision = c("single", "double"), threads = NULL, device = NULL, verbose = NULL, steps = NULL, accelerate = NULL, ambient = 0.02,
                          dispersion = "gene", dispersion_shared = TRUE, zi = c("feature", "cell"), mask = NULL, weights = NULL, size_factors = NULL, batch_size = NULL, update = c("batch", "pass"), ...) {
  call <- rlang::current_env()
  given <- setdiff(names(match.call()), if (is.null(k)) "k")
  check_no_dots(..., call = call)
  inherited <- NULL
  if (methods::is(init, "bcnmf")) {
    inherited <- inherited_settings(init, given, !is.null(background), call)
    if (!is.null(names(inherited$loss)) && !is_modalities(object)) {
      abort_bcnmf("{.arg init} is a model of the modalities {.val {names(inherited$loss)}}: to continue it, give the data as a list of them.",
        arg = "object", value = object, call = call
      )
    }
    object <- in_model_order(object, init, "object", call)
    # full sweeps after mini-batches
    if ("batch_size" %in% given && is.null(batch_size)) inherited$update <- NULL
    list2env(inherited, environment())
    mask <- inherited_mask(init, mask, !"mask" %in% given, call)
    if (!"size_factors" %in% given) size_factors <- inherited_size_factors(init)
  }
  continued <- if (methods::is(init, "bcnmf")) init@w
  sets <- read_sets(object, background, call, reference = continued, mask = mask, weights = weights, size_factors = size_factors, loss = loss)
  if (!is.null(continued)) check_continued_cells(init, sets, call)
  loss <- sets$loss
  x <- sets$x
  y <- sets$y
  found <- if (identical(loss, "auto")) auto_loss(x, y, k, threads, verbose, call)
  if (!is.null(found)) loss <- found$distribution[found$selected]
  tried <- if (identical(k, "auto")) auto_ranks(x, k_target, seed, init, call)
  settings <- check_settings(
    x, y, if (is.null(tried)) k else max(tried), alpha, beta, k_target, lambda, loss, seed, init, tol, maxit, L1, L2, precision, threads, verbose, steps, accelerate, ambient,
    dispersion, dispersion_shared, zi, batch_size, update, device, call
  )
  settings$device <- choose_device(x, y, settings, verbose, call)
  if (methods::is(init, "bcnmf")) {
    settings <- dispersion_settings(init, settings)
    settings$hold <- held_factors(init, settings$k_target)
  }
  ranks <- if (!is.null(tried)) find_rank(x, y, tried, settings, verbose, call)
  if (!is.null(ranks)) settings$k <- ranks$k[ranks$selected]
  chosen <- choose_contrast(x, y, settings, !is.null(ranks), verbose, call)
  settings <- chosen$settings
  if (settings$init == "nndsvd") settings$w <- nndsvd_starts(x, y, settings, look_at_data(x, y, settings, call))
  if (!is.null(settings$held)) settings$w <- starts_with_held(if (is.null(settings$w)) random_starts(settings, nrow(x)) else settings$w, settings$held)
  session <- core_call(rs_fit_new(x, y, settings), call)
  data <- rs_fit_data(session)
  warn_about_data(settings, data)
  warn_about_penalty(settings, sets$size_factors)

  what <- if (is.null(y)) "NMF" else "bcNMF"
  finished <- finish_fit(session, call, progress_bar(verbose, what))
  fit <- new_model(
    rs_fit_result(session), data, settings, x, y, init,
    interrupted = !finished, call = short_call(match.call())
  )
  fit@misc <- c(fit@misc, mask_record(sets$masks, x, y), weight_record(sets$weights), size_factor_record(sets$size_factors),
    modality_record(sets), if (!is.null(ranks)) list(ranks = ranks), if (!is.null(found)) list(losses = found), chosen$tables, inherited_tables(init, inherited))
  if (!finished) signal_interrupted(fit)
  warn_about_fit(fit)
  fit@misc$price <- contrast_price(fit, x, settings, call)
  warn_about_price(fit, x, y, settings, call)
  fit
}

# Refuses bad data, and tells what the core sees in good ones; `arg` is the user's name of `x`.
look_at_data <- function(x, y, settings, call, arg = "target") {
  settings$maxit <- 0
  settings$seed <- settings$seed[1]
  settings$device <- cpu
  rs_fit_data(core_call(rs_fit_new(x, y, settings), call, arg))
}

# What a continued fit takes from the model it continues, unless it was given.
inherited_settings <- function(fit, given, has_background, call) {
  take <- list(k = ncol(fit@w), loss = model_losses(fit))
  if (has_dispersions(fit@loss)) take$dispersion <- if (fit@misc$dispersion_by == "fixed") fit@misc$dispersion else fit@misc$dispersion_by
  for (name in c("L1", "L2", "precision", "tol", "steps", "accelerate", "ambient", "batch_size", "update", "dispersion_shared", "zi", "weights")) take[[name]] <- fit@misc[[name]]
  if (has_background && ncol(fit@h_background) > 0 && !any(c("alpha", "beta", "k_target", "lambda") %in% given)) {
    if (any(fit@target_only)) {
      take$k_target <- sum(fit@target_only)
      take$lambda <- fit@lambda
    } else if (is.na(fit@alpha)) {
      abort_bcnmf(c(
        "{.arg init} is what is left of a model with target-only factors without any of these, so that nothing says how to contrast.",
        i = "Give {.arg alpha}, {.arg beta} or {.arg k_target}."
      ), arg = "init", call = call)
    } else {
      take$alpha <- fit@alpha
    }
  }
  # the tolerance of mini-batches is another one
  take[setdiff(names(take), c(given, if (any(c("batch_size", "update") %in% given)) "tol", if ("steps" %in% given) "accelerate"))]
}

# Cells in another order would go on from the coefficients of others.
check_continued_cells <- function(fit, sets, call) {
  known <- list(target = colnames(fit@h), background = colnames(fit@h_background))
  given <- list(target = colnames(sets$x), background = colnames(sets$y))
  for (set in names(known)) {
    if (!identical(known[[set]], given[[set]]) && setequal(known[[set]], given[[set]])) {
      abort_bcnmf("{.arg init} is a model of the same {set} cells in another order: put the data's columns into that of {.code init$h}.",
        arg = "init", value = given[[set]], call = call
      )
    }
  }
}

# What was compared to choose its contrast, as long as it has that contrast, and its number of factors.
inherited_tables <- function(fit, inherited) {
  kept <- c("ranks", if (any(c("k_target", "alpha") %in% names(inherited))) c("k_targets", "alpha_path"))
  if (!is.null(inherited)) fit@misc[intersect(kept, names(fit@misc))]
}

warn_bcnmf <- function(message, .envir = parent.frame()) {
  cli::cli_warn(message, class = "bcnmf_warning", .envir = .envir)
}

# Rates sum to what factors sum to: an L1 penalty is more of a sum that is there already. A contrast takes some of that sum off `w`, and size factors
# make cells differ in it.
warn_about_penalty <- function(settings, size_factors) {
  contrasted <- !identical(settings$contrast, "size") && settings$k_target == 0 && settings$strength > 0
  idle <- settings$L1 > 0 & c(!contrasted, is.null(unlist(size_factors)))
  if (settings$loss == "poisson" && any(idle)) {
    warn_bcnmf(c(
      "{.arg L1} does nothing for {.field {c('w', 'h')[idle]}} with {.code loss = \"poisson\"}: it shrinks factors as a whole, and rescaling takes that back.",
      i = "For sparser factors take {.code loss = \"mse\"} on normalised values."
    ))
  }
}

warn_about_data <- function(settings, data) {
  if (settings$loss %in% count_losses) {
    fractional <- c(target = data$fractional, background = data$fractional_background)
    for (set in names(fractional)[fractional > 0]) {
      warn_bcnmf(c(
        "{fractional[[set]]} value{?s} of {.arg {set}} {cli::qty(fractional[[set]])}{?is/are} not {?a whole number/whole numbers}.",
        i = "{.code loss = \"{settings$loss}\"} is meant for counts; for normalised values take {.code loss = \"mse\"}."
      ))
    }
  }
  beta <- -data$weight * data$size_ratio
  if (beta >= 1) {
    warn_bcnmf(c(
      "{.arg beta} is {signif(beta, 3)}: from about 1 on the background wins, and the target is no longer fitted.",
      i = "Values up to 0.3 contrast with little loss; {.code alpha = {signif(0.3 / data$size_ratio, 3)}} gives that here."
    ))
  }
}

warn_about_fit <- function(fit) {
  failed <- fit@restarts$failed
  if (any(failed)) {
    warn_bcnmf(c(
      "{sum(failed)} of {length(failed)} start{?s} left the finite numbers and stopped early.",
      i = "Use {.code precision = \"double\"} or a smaller contrast."
    ))
  }
  mishaps <- unique(fit@misc$mishaps)
  if (length(mishaps)) {
    warn_bcnmf(c("The GPU failed, and the fit went on on the CPU.", stats::setNames(mishaps, rep("x", length(mishaps)))))
  }
  lines <- degenerate_lines(fit@misc)
  if (length(lines)) {
    warn_bcnmf(c(
      "The model has factors that do nothing.", stats::setNames(lines, rep("x", length(lines))),
      i = if (isTRUE(fit@beta > 0)) "A smaller {.arg k}, a smaller contrast or another {.arg seed} may have none." else
        "A smaller {.arg k} or another {.arg seed} may have none."
    ))
  }
}

# What is said of dead and duplicate factors.
degenerate_lines <- function(misc) {
  c(
    if (length(misc$dead)) sprintf("dead, without a part of the target: %s", paste(misc$dead, collapse = ", ")),
    if (length(misc$duplicates)) {
      sprintf("duplicate, with the loadings of another: %s", paste(names(misc$duplicates), "of", misc$duplicates, collapse = ", "))
    }
  )
}
