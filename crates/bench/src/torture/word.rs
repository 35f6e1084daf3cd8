//! What a victim says: one line a word, on its standard output.

use std::{
    fmt,
    io::{self, Write as _},
    str::FromStr,
};

use anyhow::{Context as _, bail};

/// One word. Keys and values have no spaces and no line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// The reopened store has this.
    Holds { key: String, value: String },
    /// All was told; the work begins.
    Ready,
    /// Acknowledged: the key has this value from now on.
    Done { key: String, value: String },
    /// About to ask for the key to be purged.
    Purging { key: String },
    /// Acknowledged: the key is purged.
    Gone { key: String },
    /// About to ask the key's count to rise to this.
    Asking { key: String, count: u64 },
    /// Acknowledged: the key's count has risen to this.
    Counted { key: String, count: u64 },
    /// A flush, a fold or a purge begins.
    Enters(Phase),
    /// It has ended.
    Leaves(Phase),
}

/// What a kill may fall into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Flush,
    Fold,
    Purge,
}

impl Phase {
    pub(crate) const ALL: [Self; 3] = [Self::Flush, Self::Fold, Self::Purge];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Fold => "fold",
            Self::Purge => "purge",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds { key, value } => write!(f, "holds {key} {value}"),
            Self::Ready => f.write_str("ready"),
            Self::Done { key, value } => write!(f, "done {key} {value}"),
            Self::Purging { key } => write!(f, "purging {key}"),
            Self::Gone { key } => write!(f, "gone {key}"),
            Self::Asking { key, count } => write!(f, "asking {key} {count}"),
            Self::Counted { key, count } => write!(f, "counted {key} {count}"),
            Self::Enters(phase) => write!(f, "enters {}", phase.name()),
            Self::Leaves(phase) => write!(f, "leaves {}", phase.name()),
        }
    }
}

impl FromStr for Word {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let count = |text: &str| text.parse().with_context(|| format!("`{line}` has no count"));
        Ok(match words[..] {
            ["holds", key, value] => Self::Holds { key: key.to_owned(), value: value.to_owned() },
            ["ready"] => Self::Ready,
            ["done", key, value] => Self::Done { key: key.to_owned(), value: value.to_owned() },
            ["purging", key] => Self::Purging { key: key.to_owned() },
            ["gone", key] => Self::Gone { key: key.to_owned() },
            ["asking", key, number] => Self::Asking { key: key.to_owned(), count: count(number)? },
            ["counted", key, number] => {
                Self::Counted { key: key.to_owned(), count: count(number)? }
            }
            ["enters", name] => Self::Enters(phase(name)?),
            ["leaves", name] => Self::Leaves(phase(name)?),
            _ => bail!("the victim said `{line}`, which means nothing"),
        })
    }
}

fn phase(name: &str) -> anyhow::Result<Phase> {
    let found = Phase::ALL.into_iter().find(|phase| phase.name() == name);
    found.with_context(|| format!("there is no phase `{name}`"))
}

/// Says a word. May be called on any thread; a line is never cut by another.
pub(crate) fn say(word: &Word) {
    let mut output = io::stdout().lock();
    // Without its listener a victim has no purpose; it ends when it is killed.
    let _ = output.write_all(format!("{word}\n").as_bytes()).and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_understood_as_it_was_said() {
        let (key, value) = ("a".to_owned(), "1".to_owned());
        let words = [
            Word::Holds { key: key.clone(), value: value.clone() },
            Word::Ready,
            Word::Done { key: key.clone(), value },
            Word::Purging { key: key.clone() },
            Word::Gone { key: key.clone() },
            Word::Asking { key: key.clone(), count: 7 },
            Word::Counted { key, count: 7 },
            Word::Enters(Phase::Fold),
            Word::Leaves(Phase::Purge),
        ];
        for word in words {
            assert_eq!(word.to_string().parse::<Word>().expect("understood"), word);
        }
    }

    #[test]
    fn noise_is_refused_with_its_text() {
        let error = "hello there you".parse::<Word>().expect_err("means nothing");
        assert_eq!(error.to_string(), "the victim said `hello there you`, which means nothing");
    }
}
