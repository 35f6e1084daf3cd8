//! A few seeds in every test run; the long runs are `cargo xtask sim`.

#[test]
fn random_programs_survive_faults() {
    if let Err(complaint) = everstep_sim::seeds(1, 20) {
        panic!("{complaint}");
    }
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    assert_eq!(everstep_sim::seed(7), everstep_sim::seed(7));
}

#[test]
fn every_planted_defect_is_caught() {
    if let Err(complaint) = everstep_sim::planted(1, 200) {
        panic!("{complaint}");
    }
}
