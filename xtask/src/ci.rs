//! All checks in order, cheap ones first. The first that fails ends the run and says what to do.
//!
//! A step that needs a program which is not installed says so in one line and is skipped; nothing is installed here.

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::ValueEnum;

use crate::{
    counts::Counts,
    process::{self, Tool, say},
    tidy,
};

/// One check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    Fmt,
    Tidy,
    Deny,
    Clippy,
    Tests,
    DocTests,
    Sim,
}

/// How a step went.
enum Outcome {
    Passed,
    Tested(Counts),
    Skipped(&'static str),
}

/// Runs the given steps, or all.
pub(crate) fn run(chosen: &[Step]) -> anyhow::Result<()> {
    let mut report = Vec::new();
    let mut counts = Counts::default();
    let chosen_by = |step: &Step| chosen.is_empty() || chosen.contains(step);
    for step in Step::value_variants().iter().copied().filter(chosen_by) {
        say(&format!("\n== {}", step.title()));
        let started = Instant::now();
        let outcome = match step.run() {
            Ok(outcome) => outcome,
            Err(error) => {
                bail!("{} failed: {error:#}\nWhat to do: {}", step.title(), step.remedy())
            }
        };
        if let Outcome::Tested(tested) = &outcome {
            counts += *tested;
        }
        let line = line(step, &outcome, started.elapsed());
        say(&line);
        report.push(line);
    }
    say(&format!("\n{}\ntests: {counts}", report.join("\n")));
    Ok(())
}

impl Step {
    fn title(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Tidy => "tidy",
            Self::Deny => "deny",
            Self::Clippy => "clippy",
            Self::Tests => "tests",
            Self::DocTests => "doc tests",
            Self::Sim => "sim",
        }
    }

    fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Fmt => {
                Tool::cargo(&["fmt", "--all", "--", "--check"]).run().map(|()| Outcome::Passed)
            }
            Self::Tidy => tidy::run().map(|()| Outcome::Passed),
            Self::Deny if !Tool::cargo(&["deny", "--version"]).is_there() => {
                Ok(Outcome::Skipped("cargo-deny is not installed"))
            }
            Self::Deny => Tool::cargo(&["deny", "check"]).run().map(|()| Outcome::Passed),
            Self::Clippy => {
                let clippy = Tool::cargo(&[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ]);
                clippy.run().map(|()| Outcome::Passed)
            }
            Self::Tests => process::tests(&["--workspace"], &[]).map(Outcome::Tested),
            Self::DocTests => process::doc_tests(&["--workspace"], &[]).map(Outcome::Tested),
            Self::Sim => {
                let sim = Tool::cargo(&[
                    "run",
                    "--quiet",
                    "--release",
                    "--package",
                    "everstep-sim",
                    "--",
                ]);
                sim.args(SIM_SEEDS).run().map(|()| Outcome::Passed)
            }
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Fmt => {
                "run `cargo fmt --all`; if there is no rustfmt, `rustup component add rustfmt`"
            }
            Self::Tidy => {
                "each line above names a file and what it lacks; `cargo xtask tidy` runs this step alone"
            }
            Self::Deny => "see the reasons in deny.toml; `cargo deny check` runs this step alone",
            Self::Clippy => {
                "mend the code or put `#[expect(lint, reason = \"...\")]` at the spot; if there is no clippy, `rustup component add clippy`"
            }
            Self::Tests => "`cargo xtask test PART -- NAME` runs one part, or one test of it",
            Self::DocTests => "`cargo xtask test doc` runs this step alone",
            Self::Sim => {
                "`cargo xtask sim --seed N` with the seed above repeats the run that failed"
            }
        }
    }
}

/// The same programs and faults on every machine, for about a minute.
const SIM_SEEDS: [&str; 4] = ["--seeds", "500", "--from", "1"];

fn line(step: Step, outcome: &Outcome, took: Duration) -> String {
    let what = match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Tested(counts) => counts.to_string(),
        Outcome::Skipped(reason) => format!("skipped: {reason}"),
    };
    format!("{:<10} {:>7.1} s  {what}", step.title(), took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steps_line_names_it_its_time_and_what_was_skipped() {
        let skipped = Outcome::Skipped("cargo-deny is not installed");
        let line = line(Step::Deny, &skipped, Duration::from_millis(40));
        assert_eq!(line, "deny           0.0 s  skipped: cargo-deny is not installed");
    }

    #[test]
    fn a_steps_line_counts_tests() {
        let tested = Outcome::Tested(Counts { passed: 812, failed: 0, skipped: 2 });
        let line = line(Step::Tests, &tested, Duration::from_secs(75));
        assert_eq!(line, "tests         75.0 s  812 passed, 0 failed, 2 skipped");
    }
}
