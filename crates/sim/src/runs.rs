//! Many runs, and what they came to.

use std::{
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use everstep_store::Mode;

use crate::{
    coverage::Coverage,
    defect::Defect,
    world::{Faults, Report, Setting, Violation, run},
};

/// Runs that many seeds. The text is a table of what was covered; the error says which seed failed and how to see it again.
pub fn seeds(from: u64, count: u64) -> Result<String, String> {
    let mut coverage = Coverage::default();
    let mut steps = 0;
    for seed in from..from + count {
        let report = pair(seed, None).map_err(|(violation, _)| complaint(seed, &violation))?;
        coverage.add(&report.coverage);
        steps += u64::from(report.steps);
    }
    let text = format!("{}\n{count} seeds from {from}, {steps} steps", coverage.table());
    let missing = coverage.missing();
    // A few seeds cannot meet every pair.
    if count >= 500 && !missing.is_empty() {
        return Err(format!("{text}\nnever met: {missing:?}"));
    }
    Ok(text)
}

/// Runs one seed and gives its transcript, with the complaint at its end if it failed.
pub fn seed(seed: u64) -> Result<String, String> {
    match pair(seed, Some(())) {
        Ok(report) => Ok(report.transcript),
        Err((violation, transcript)) => {
            Err(format!("{transcript}\n{}", complaint(seed, &violation)))
        }
    }
}

/// Plants every defect in turn and says which check caught it; an error if one was not caught within that many seeds.
pub fn planted(from: u64, count: u64) -> Result<String, String> {
    let mut text = String::new();
    let mut missed = Vec::new();
    for defect in Defect::ALL {
        let caught = (from..from + count).find_map(|seed| {
            let setting = setting(seed, Mode::Log, Faults::Some, Some(*defect));
            guarded(setting).err().map(|(violation, _)| (seed, violation))
        });
        match caught {
            Some((seed, violation)) => {
                let short: String = violation.text.chars().take(90).collect();
                writeln!(
                    text,
                    "{:<22} seed {seed:<5} {:<11} {short}",
                    format!("{defect:?}"),
                    violation.check
                )
                .expect("a String takes every write");
            }
            None => missed.push(*defect),
        }
    }
    writeln!(text, "{} of {} defects caught", Defect::ALL.len() - missed.len(), Defect::ALL.len())
        .expect("a String takes every write");
    if missed.is_empty() {
        Ok(text)
    } else {
        Err(format!("{text}not caught within {count} seeds: {missed:?}"))
    }
}

fn setting(seed: u64, mode: Mode, faults: Faults, defect: Option<Defect>) -> Setting {
    Setting { seed, mode, faults, defect, transcript: false }
}

fn complaint(seed: u64, violation: &Violation) -> String {
    format!(
        "seed {seed} failed, check `{}`: {}\nTo see it again: cargo run --release -p everstep-sim -- --seed {seed}",
        violation.check, violation.text
    )
}

/// The run with faults, then the same scenario without any in direct mode: both must come to the same state. Every
/// eighth seed lets hosts of the direct mode crash as well.
fn pair(seed: u64, transcript: Option<()>) -> Result<Report, (Violation, String)> {
    let first = Setting {
        transcript: transcript.is_some(),
        ..setting(seed, Mode::Log, Faults::Some, None)
    };
    let report = guarded(first)?;
    let faults = if seed.is_multiple_of(8) { Faults::Some } else { Faults::None };
    let second =
        Setting { transcript: transcript.is_some(), ..setting(seed, Mode::Direct, faults, None) };
    let reference = guarded(second)?;
    for (id, state) in &report.state {
        let other = reference.state.get(id);
        let is_loose = crate::world::is_loose(seed, id);
        if !is_loose && other != Some(state) {
            let text =
                format!("`{id}` came to {state} over the log and to {other:?} in direct mode");
            return Err((Violation { check: "modes", text }, report.transcript));
        }
    }
    Ok(report)
}

/// A panic anywhere is a violation too.
fn guarded(setting: Setting) -> Result<Report, (Violation, String)> {
    let mut transcript = String::new();
    match catch_unwind(AssertUnwindSafe(|| run(setting, &mut transcript))) {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(violation)) => Err((violation, transcript)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let text = text.unwrap_or_else(|| "a panic without a text".to_owned());
            Err((Violation { check: "panic", text }, transcript))
        }
    }
}
