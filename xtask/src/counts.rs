//! How many tests ran, read from what the runners print.

use std::{
    fmt,
    ops::{Add, AddAssign},
};

/// Tests by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// The counts in a runner's closing line; zero in any other line.
    pub(crate) fn in_line(line: &str) -> Self {
        let line = line.trim_start();
        if !(line.starts_with("test result:") || line.starts_with("Summary [")) {
            return Self::default();
        }
        let words: Vec<&str> =
            line.split([' ', ',', ';', ':']).filter(|word| !word.is_empty()).collect();
        words.windows(2).fold(Self::default(), |counts, pair| counts + Self::of(pair[0], pair[1]))
    }

    fn of(number: &str, what: &str) -> Self {
        let Ok(number) = number.parse() else { return Self::default() };
        match what {
            "passed" => Self { passed: number, ..Self::default() },
            "failed" => Self { failed: number, ..Self::default() },
            "ignored" | "skipped" => Self { skipped: number, ..Self::default() },
            _ => Self::default(),
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_understood() {
        let nextest =
            "     Summary [   1.203s] 14 tests run: 12 passed (1 slow), 2 failed, 3 skipped";
        assert_eq!(Counts::in_line(nextest), Counts { passed: 12, failed: 2, skipped: 3 });
        let cargo = "test result: FAILED. 7 passed; 1 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.1s";
        assert_eq!(Counts::in_line(cargo), Counts { passed: 7, failed: 1, skipped: 2 });
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(Counts::in_line("test a::b ... ok, 3 passed"), Counts::default());
    }
}
