mod common;
use bcnmf_core::fit::{FitParams, Scaling};
use bcnmf_core::{LossKind, Start};
use common::scenario::Scenario;
#[test]
fn dbg() {
    for s in [
    Scenario { rows: 2, cells: 2, background: 1, k: 1, loss: LossKind::Mse, sparse: false, weight: -1.2210631402280938, k_target: 0, penalties: [0.0; 4], density: 0.1, blank: true, seed: 9482163086458038433 },
    Scenario { rows: 9, cells: 1, background: 2, k: 1, loss: LossKind::Poisson, sparse: false, weight: -1.161870262777985, k_target: 0, penalties: [0.0; 4], density: 0.6253516849723455, blank: false, seed: 7927006795866182955 }] {
    let d = s.data();
    println!("{:?}\n{:?}", d.x, d.y);
    println!("{:?}", s.factors());
    for (it, sc) in [(1, Scaling::Plain { guard: 1e-300 }), (2, Scaling::Plain { guard: 1e-300 }), (1, Scaling::Normalised)] {
        let p = FitParams { maxit: it, scaling: sc, ..s.params() };
        let f = d.fit::<f64>(false, &p, &Start::Factors(s.factors()));
        println!("{sc:?} {it}: {:?} {:?}", f.factors(), f.history());
    }}
}
