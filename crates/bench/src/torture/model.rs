//! What a victim promised, and what its store held when it was opened again.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, bail};

use crate::torture::word::{Phase, Word};

/// Promises over all lives, and counts for the report.
#[derive(Debug, Default)]
pub(crate) struct Model {
    promised: BTreeMap<String, Promise>,
    held: BTreeMap<String, String>,
    /// Open phases of the present life, by [`Phase::ALL`].
    open: [bool; 3],
    kills: u64,
    kills_in: [u64; 3],
    acknowledged: u64,
    compared: u64,
}

/// What must be found under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Promise {
    /// This value.
    Value(String),
    /// This value or nothing: a purge was asked for.
    Doubtful(String),
    /// Nothing.
    Nothing,
    /// A number not below what was acknowledged and not above what was asked for.
    Count { acknowledged: u64, asked: u64 },
}

impl Model {
    /// A new victim is about to tell what the store holds.
    pub(crate) fn reopened(&mut self) {
        self.held.clear();
        self.open = [false; 3];
    }

    /// Takes a word in.
    pub(crate) fn hear(&mut self, word: Word) -> anyhow::Result<()> {
        match word {
            Word::Ready => bail!("the victim was ready already"),
            Word::Holds { key, value } => {
                if let Some(before) = self.held.insert(key.clone(), value) {
                    bail!("the store holds `{key}` twice, once as `{before}`");
                }
            }
            Word::Done { key, value } => self.acknowledge(key, Promise::Value(value)),
            Word::Purging { key } => self.doubt(&key),
            Word::Gone { key } => self.acknowledge(key, Promise::Nothing),
            Word::Asking { key, count } => self.ask(key, count),
            Word::Counted { key, count } => self.count(&key, count)?,
            Word::Enters(phase) => self.open[phase as usize] = true,
            Word::Leaves(phase) => self.open[phase as usize] = false,
        }
        Ok(())
    }

    /// Compares what the store holds with every promise.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for (key, promise) in &self.promised {
            promise.check(key, self.held.get(key).map(String::as_str))?;
            self.compared += 1;
        }
        Ok(())
    }

    /// The victim is dead and all its words are heard.
    pub(crate) fn killed(&mut self) {
        self.kills += 1;
        for (open, kills) in self.open.iter().zip(&mut self.kills_in) {
            *kills += u64::from(*open);
        }
    }

    pub(crate) fn summary(&self) -> String {
        let mut lines = vec![("kills".to_owned(), self.kills)];
        lines.extend(Phase::ALL.map(|phase| {
            (format!("kills during a {}", phase.name()), self.kills_in[phase as usize])
        }));
        lines.push(("acknowledgements".to_owned(), self.acknowledged));
        lines.push(("comparisons".to_owned(), self.compared));
        lines.iter().fold(String::new(), |mut text, (what, number)| {
            writeln!(text, "{what:<20} {number:>5}").expect("a string takes everything");
            text
        })
    }

    fn acknowledge(&mut self, key: String, promise: Promise) {
        self.acknowledged += 1;
        self.promised.insert(key, promise);
    }

    fn doubt(&mut self, key: &str) {
        if let Some(promise) = self.promised.get_mut(key)
            && let Promise::Value(value) = promise
        {
            *promise = Promise::Doubtful(std::mem::take(value));
        }
    }

    fn ask(&mut self, key: String, count: u64) {
        let promise =
            self.promised.entry(key).or_insert(Promise::Count { acknowledged: 0, asked: 0 });
        if let Promise::Count { asked, .. } = promise {
            *asked = (*asked).max(count);
        }
    }

    fn count(&mut self, key: &str, count: u64) -> anyhow::Result<()> {
        match self.promised.get_mut(key) {
            Some(Promise::Count { acknowledged, asked }) if count <= *asked => {
                *acknowledged = (*acknowledged).max(count);
                self.acknowledged += 1;
                Ok(())
            }
            _ => bail!("`{key}` was acknowledged up to {count}, which nobody asked for"),
        }
    }
}

impl Promise {
    fn check(&self, key: &str, held: Option<&str>) -> anyhow::Result<()> {
        match (self, held) {
            (Self::Value(value) | Self::Doubtful(value), Some(held)) if held != value => {
                bail!("`{key}` was acknowledged as `{value}` and is `{held}`")
            }
            (Self::Value(value), None) => {
                bail!("`{key}` was acknowledged as `{value}` and is gone")
            }
            (Self::Nothing, Some(held)) => bail!("`{key}` was purged and is back as `{held}`"),
            (Self::Count { acknowledged, asked }, held) => {
                let found: u64 = held
                    .map_or(Ok(0), str::parse)
                    .with_context(|| format!("`{key}` is not a count"))?;
                if !(*acknowledged..=*asked).contains(&found) {
                    bail!(
                        "`{key}` is {found}; {acknowledged} were acknowledged and {asked} asked for"
                    );
                }
                Ok(())
            }
            (Self::Value(_) | Self::Doubtful(_) | Self::Nothing, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of one life, then what the next one holds; the answer of the check.
    fn check(said: &str, held: &str) -> Result<(), String> {
        let mut model = Model::default();
        let hear = |model: &mut Model, lines: &str| {
            lines
                .split("; ")
                .filter(|line| !line.is_empty())
                .try_for_each(|line| model.hear(line.parse()?))
        };
        model.reopened();
        hear(&mut model, said).map_err(|error: anyhow::Error| error.to_string())?;
        model.killed();
        model.reopened();
        hear(&mut model, held).map_err(|error| error.to_string())?;
        model.check().map_err(|error| error.to_string())
    }

    fn refused(said: &str, held: &str) -> String {
        check(said, held).expect_err("a promise was broken")
    }

    #[test]
    fn a_kept_promise_passes_and_what_nobody_promised_may_be_there() {
        assert_eq!(check("done a 1", "holds a 1; holds b 2"), Ok(()));
    }

    #[test]
    fn a_value_that_is_lost_or_changed_is_refused() {
        assert_eq!(refused("done a 1", ""), "`a` was acknowledged as `1` and is gone");
        assert_eq!(refused("done a 1", "holds a 2"), "`a` was acknowledged as `1` and is `2`");
        assert_eq!(
            refused("done a 1", "holds a 1; holds a 1"),
            "the store holds `a` twice, once as `1`"
        );
    }

    #[test]
    fn a_purge_without_its_answer_leaves_both_open() {
        assert_eq!(check("done a 1; purging a", ""), Ok(()));
        assert_eq!(check("done a 1; purging a", "holds a 1"), Ok(()));
        assert_eq!(
            refused("done a 1; purging a; gone a", "holds a 1"),
            "`a` was purged and is back as `1`"
        );
    }

    #[test]
    fn a_count_lies_between_what_was_acknowledged_and_what_was_asked_for() {
        assert_eq!(check("asking n 3; counted n 2", "holds n 3"), Ok(()));
        assert_eq!(check("asking n 3", ""), Ok(()));
        assert_eq!(
            refused("asking n 3; counted n 2", "holds n 1"),
            "`n` is 1; 2 were acknowledged and 3 asked for"
        );
        assert_eq!(
            refused("asking n 3; counted n 2", "holds n 4"),
            "`n` is 4; 2 were acknowledged and 3 asked for"
        );
        assert_eq!(
            refused("counted n 2", ""),
            "`n` was acknowledged up to 2, which nobody asked for"
        );
    }

    #[test]
    fn kills_are_counted_by_what_they_fell_into() {
        let mut model = Model::default();
        for phase in
            [Word::Enters(Phase::Flush), Word::Enters(Phase::Fold), Word::Leaves(Phase::Flush)]
        {
            model.hear(phase).expect("a phase");
        }
        model.killed();
        assert_eq!(
            model.summary(),
            "kills                    1\nkills during a flush     0\nkills during a fold      1\n\
             kills during a purge     0\nacknowledgements         0\ncomparisons              0\n"
        );
    }
}
