//! What can be set, read once when the app starts.
//!
//! S1  An empty setting counts as missing.
//! S2  What cannot be used ends the start with the setting's name and what to write.
//! S3  Orchestrators see none of this: what they depend on stands in their input.

use std::{ops::RangeInclusive, str::FromStr};

use everstep_host::Timer;

/// How many chunks a run has at most, unless `MAX_CHUNKS` says so.
pub const MAX_CHUNKS: u32 = 5;
/// What `MAX_CHUNKS` may be.
pub(crate) const MAX_CHUNKS_RANGE: RangeInclusive<u32> = 1..=1000;
/// An activity should not sleep for longer.
const SECONDS_MAX: f64 = 3600.0;

/// How the app works.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// A run has at most so many chunks.
    pub(crate) max_chunks: u32,
    /// A chunk takes at least so long, in hundredths of a second.
    pub(crate) hundredths_min: u64,
    /// And at most so long.
    pub(crate) hundredths_max: u64,
    /// Makes every run do the same work.
    pub(crate) seed: Option<u64>,
    /// When runs start by themselves.
    pub(crate) schedule: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_chunks: MAX_CHUNKS,
            hundredths_min: 50,
            hundredths_max: 200,
            seed: None,
            schedule: None,
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the setting {name} is `{found}`; write {expected}")]
pub struct BadSetting {
    name: &'static str,
    found: String,
    expected: String,
}

impl Settings {
    pub(crate) fn read<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<Self, BadSetting> {
        let find = |name: &str| setting(name).map(str::trim).filter(|text| !text.is_empty());
        let defaults = Self::default();
        let (first, last) = (*MAX_CHUNKS_RANGE.start(), *MAX_CHUNKS_RANGE.end());
        let expected = format!("a whole number from {first} to {last}");
        let chunks = parsed(&find, "MAX_CHUNKS", &expected, |n| MAX_CHUNKS_RANGE.contains(n))?;
        let seed = parsed(&find, "CHUNK_SEED", "a whole number, not negative", |_: &u64| true)?;
        let hundredths_min =
            hundredths(&find, "CHUNK_SECONDS_MIN")?.unwrap_or(defaults.hundredths_min);
        let hundredths_max = hundredths(&find, "CHUNK_SECONDS_MAX")?
            .unwrap_or(defaults.hundredths_max.max(hundredths_min));
        if hundredths_max < hundredths_min {
            let found = find("CHUNK_SECONDS_MAX").unwrap_or_default().to_owned();
            let expected =
                "at least as many seconds as CHUNK_SECONDS_MIN says (0.5 unless set)".to_owned();
            return Err(BadSetting { name: "CHUNK_SECONDS_MAX", found, expected });
        }
        let max_chunks = chunks.unwrap_or(defaults.max_chunks);
        let schedule = schedule(find("STARTER_SCHEDULE"))?;
        Ok(Self { max_chunks, hundredths_min, hundredths_max, seed, schedule })
    }
}

fn parsed<'a, T: FromStr>(
    find: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
    expected: &str,
    fits: impl Fn(&T) -> bool,
) -> Result<Option<T>, BadSetting> {
    let Some(text) = find(name) else { return Ok(None) };
    let bad = || BadSetting { name, found: text.to_owned(), expected: expected.to_owned() };
    text.parse().ok().filter(fits).map(Some).ok_or_else(bad)
}

fn hundredths<'a>(
    find: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
) -> Result<Option<u64>, BadSetting> {
    let expected = format!("seconds from 0 to {SECONDS_MAX}, such as 0.5");
    let seconds = parsed(find, name, &expected, |n: &f64| (0.0..=SECONDS_MAX).contains(n))?;
    #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
    let hundredths = seconds.map(|seconds| (seconds * 100.0).round() as u64);
    Ok(hundredths)
}

fn schedule(text: Option<&str>) -> Result<Option<String>, BadSetting> {
    let Some(text) = text else { return Ok(None) };
    let expected =
        "six fields such as `*/10 * * * * *` for every ten seconds, or leave it out".to_owned();
    let bad = |_| BadSetting { name: "STARTER_SCHEDULE", found: text.to_owned(), expected };
    Timer::checked(text).map_err(bad)?;
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let owned: Vec<(String, &str)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Settings::read(|name| owned.iter().find(|(key, _)| key == name).map(|(_, value)| *value))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_needs_to_be_set() {
        assert_eq!(read(&[]), Ok(Settings::default()));
        assert_eq!(read(&[("MAX_CHUNKS", ""), ("STARTER_SCHEDULE", " ")]), Ok(Settings::default()));
    }

    #[test]
    fn everything_can_be_set() {
        let set = read(&[
            ("MAX_CHUNKS", "20"),
            ("CHUNK_SECONDS_MIN", "0"),
            ("CHUNK_SECONDS_MAX", "0.25"),
            ("CHUNK_SEED", "42"),
            ("STARTER_SCHEDULE", "*/10 * * * * *"),
        ]);
        let expected = Settings {
            max_chunks: 20,
            hundredths_min: 0,
            hundredths_max: 25,
            seed: Some(42),
            schedule: Some("*/10 * * * * *".to_owned()),
        };
        assert_eq!(set, Ok(expected));
    }

    #[test]
    fn a_longer_shortest_time_moves_the_longest_along() {
        assert_eq!(read(&[("CHUNK_SECONDS_MIN", "3")]).unwrap().hundredths_max, 300);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_what_to_write() {
        let text = |pairs: &[(&str, &str)]| read(pairs).unwrap_err();
        for found in ["0", "1001", "many", "-1", "2.5"] {
            assert_eq!(
                text(&[("MAX_CHUNKS", found)]),
                format!("the setting MAX_CHUNKS is `{found}`; write a whole number from 1 to 1000")
            );
        }
        for name in ["CHUNK_SECONDS_MIN", "CHUNK_SECONDS_MAX"] {
            for found in ["-0.1", "3601", "soon", "NaN"] {
                assert_eq!(
                    text(&[(name, found)]),
                    format!(
                        "the setting {name} is `{found}`; write seconds from 0 to 3600, such as 0.5"
                    )
                );
            }
        }
        assert_eq!(
            text(&[("CHUNK_SECONDS_MAX", "0.4")]),
            "the setting CHUNK_SECONDS_MAX is `0.4`; write at least as many seconds as CHUNK_SECONDS_MIN says (0.5 unless set)"
        );
        assert_eq!(
            text(&[("CHUNK_SEED", "a")]),
            "the setting CHUNK_SEED is `a`; write a whole number, not negative"
        );
        assert_eq!(
            text(&[("STARTER_SCHEDULE", "often")]),
            "the setting STARTER_SCHEDULE is `often`; write six fields such as `*/10 * * * * *` for every ten seconds, or leave it out"
        );
    }
}
