//! Which fault struck while which feature was in use.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::program::Feature;

/// What can go wrong; the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The process ends at any step.
    Crash,
    /// A commit took effect and nobody heard of it.
    AnswerLost,
    /// The disk is full for a while.
    DiskFull,
    /// A write or flush fails.
    DiskError,
    /// A fold fails and nothing was written.
    FoldBefore,
    /// A fold fails and everything was written.
    FoldAfter,
    /// There is no space for a fold.
    FoldFull,
    /// A message comes twice.
    Twice,
    /// An activity runs twice.
    ActivityTwice,
    /// A future was dropped and its execution is replayed from the tables.
    Evict,
    /// The clock jumps ahead.
    ClockAhead,
    /// The clock jumps back.
    ClockBack,
}

impl Fault {
    pub(crate) const ALL: [Self; 12] = [
        Self::Crash,
        Self::AnswerLost,
        Self::DiskFull,
        Self::DiskError,
        Self::FoldBefore,
        Self::FoldAfter,
        Self::FoldFull,
        Self::Twice,
        Self::ActivityTwice,
        Self::Evict,
        Self::ClockAhead,
        Self::ClockBack,
    ];
}

/// How often each pair was met.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage {
    counts: BTreeMap<(Feature, Fault), u64>,
}

impl Coverage {
    pub(crate) fn count(&mut self, feature: Feature, fault: Fault) {
        *self.counts.entry((feature, fault)).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (pair, count) in &other.counts {
            *self.counts.entry(*pair).or_default() += count;
        }
    }

    /// Pairs that were never met.
    pub(crate) fn missing(&self) -> Vec<(Feature, Fault)> {
        let pairs =
            Feature::ALL.into_iter().flat_map(|feature| Fault::ALL.map(|fault| (feature, fault)));
        pairs.filter(|pair| !self.counts.contains_key(pair)).collect()
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{:<15}", "");
        let mut line = |part: String| text.push_str(&part);
        Fault::ALL.iter().for_each(|fault| line(format!("{:>14}", format!("{fault:?}"))));
        for feature in Feature::ALL {
            write!(text, "\n{:<15}", format!("{feature:?}")).expect("a String takes every write");
            for fault in Fault::ALL {
                let count = self.counts.get(&(feature, fault)).copied().unwrap_or(0);
                write!(text, "{count:>14}").expect("a String takes every write");
            }
        }
        text
    }
}
