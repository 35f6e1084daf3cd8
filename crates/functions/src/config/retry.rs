//! How often a failed invocation is made again, and when.

use std::time::Duration;

use serde_json::Value;

use super::{
    Errors,
    section::{Report, Section, shown},
};

/// What `retry` says in `host.json` or `function.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// How many times it is tried again; `None` for ever.
    pub max: Option<u32>,
    /// How long each wait is.
    pub strategy: Strategy,
}

/// How waits follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// All waits are the same.
    Fixed {
        /// Each of them.
        delay: Duration,
    },
    /// Each wait is about twice the one before.
    Exponential {
        /// No wait is shorter.
        min: Duration,
        /// No wait is longer.
        max: Duration,
    },
}

impl Retry {
    /// Reads `retry` of the file or function at `place`.
    pub fn read(place: &str, value: &Value) -> Result<Self, Errors> {
        let report = Report::default();
        let policy = match value {
            Value::Object(entries) => {
                Self::from_section(Section::at(place, "retry", entries.clone(), &report))
            }
            other => {
                let error = super::Error::Value {
                    place: place.to_owned(),
                    key: "retry".to_owned(),
                    found: shown(other),
                    remedy: "write an object with `strategy` and `maxRetryCount`".to_owned(),
                };
                return Err(error.into());
            }
        };
        let (policy, _) = report.close(policy)?;
        Ok(policy.expect("a policy without an error has all its parts"))
    }

    /// Reads a section; `None` if it reported an error.
    pub(crate) fn from_section(mut section: Section<'_>) -> Option<Self> {
        if !section.has("maxRetryCount") {
            section.missing("maxRetryCount", "write how often to try again, or -1 for ever");
        }
        let max = section.whole::<i64>("maxRetryCount", -1..=i64::from(i32::MAX));
        let strategy = Self::strategy(&mut section);
        section.finish();
        Some(Self { max: u32::try_from(max?).ok(), strategy: strategy? })
    }

    fn strategy(section: &mut Section<'_>) -> Option<Strategy> {
        let words = [("fixedDelay", Kind::Fixed), ("exponentialBackoff", Kind::Exponential)];
        let Some(value) = section.take("strategy") else {
            section.missing("strategy", "write \"fixedDelay\" or \"exponentialBackoff\"");
            return None;
        };
        let kind = words
            .iter()
            .find(|(word, _)| value.as_str().is_some_and(|text| word.eq_ignore_ascii_case(text)));
        let Some((_, kind)) = kind else {
            return section.refuse(
                "strategy",
                &value,
                "write \"fixedDelay\" or \"exponentialBackoff\"",
            );
        };
        let mut wait = |key: &str| {
            if !section.has(key) {
                section.missing(key, "write a span of time such as \"00:00:10\"");
            }
            section.duration(key)
        };
        match kind {
            Kind::Fixed => Some(Strategy::Fixed { delay: wait("delayInterval")? }),
            Kind::Exponential => {
                let (min, max) = (wait("minimumInterval"), wait("maximumInterval"));
                let (min, max) = (min?, max?);
                if min > max {
                    let found = Value::String(super::TimeSpan::from(min).to_string());
                    return section.refuse(
                        "minimumInterval",
                        &found,
                        "write no more than `maximumInterval`",
                    );
                }
                Some(Strategy::Exponential { min, max })
            }
        }
    }

    /// How long to wait before retry number `retry`, from 1; `None` if there is none. `random` lies in `0..1` and
    /// spreads exponential waits by a fifth either way.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_functions::config::{Retry, retry::Strategy};
    /// let strategy = Strategy::Exponential { min: Duration::from_secs(1), max: Duration::from_secs(60) };
    /// let policy = Retry { max: Some(3), strategy };
    /// assert_eq!(policy.delay(2, 0.5), Some(Duration::from_secs(2)));
    /// assert_eq!(policy.delay(4, 0.5), None);
    /// ```
    pub fn delay(&self, retry: u32, random: f64) -> Option<Duration> {
        if self.max.is_some_and(|max| retry > max) {
            return None;
        }
        Some(match self.strategy {
            Strategy::Fixed { delay } => delay,
            Strategy::Exponential { min, max } => {
                // From 2^40 seconds on every wait is the longest one.
                let doublings = retry.saturating_sub(1).min(40);
                let spread = 0.8 + 0.4 * random.clamp(0.0, 1.0);
                let seconds = min.as_secs_f64() * f64::from(doublings).exp2() * spread;
                Duration::try_from_secs_f64(seconds).unwrap_or(max).clamp(min, max)
            }
        })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Fixed,
    Exponential,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{Strategy, *};

    fn error(value: &Value) -> String {
        Retry::read("function `F`", value).unwrap_err().to_string()
    }

    #[test]
    fn both_strategies_are_read() {
        assert_eq!(
            Retry::read(
                "f",
                &json!({ "strategy": "FixedDelay", "maxRetryCount": -1, "delayInterval": "00:00:10" })
            ),
            Ok(Retry { max: None, strategy: Strategy::Fixed { delay: Duration::from_secs(10) } })
        );
        assert_eq!(
            Retry::read(
                "f",
                &json!({
                    "strategy": "exponentialBackoff", "maxRetryCount": 5,
                    "minimumInterval": "00:00:10", "maximumInterval": "00:15:00"
                })
            ),
            Ok(Retry {
                max: Some(5),
                strategy: Strategy::Exponential {
                    min: Duration::from_secs(10),
                    max: Duration::from_mins(15)
                }
            })
        );
    }

    #[test]
    fn bad_policies_say_what_to_write() {
        assert_eq!(
            error(&json!(3)),
            "function `F`: `retry` is 3; write an object with `strategy` and `maxRetryCount`"
        );
        assert_eq!(
            error(&json!({})),
            "function `F`: `retry.maxRetryCount` is missing; write how often to try again, or -1 for ever\n\
             function `F`: `retry.strategy` is missing; write \"fixedDelay\" or \"exponentialBackoff\""
        );
        assert_eq!(
            error(&json!({ "strategy": "linear", "maxRetryCount": 1 })),
            "function `F`: `retry.strategy` is \"linear\"; write \"fixedDelay\" or \"exponentialBackoff\""
        );
        assert_eq!(
            error(&json!({ "strategy": "fixedDelay", "maxRetryCount": 1 })),
            "function `F`: `retry.delayInterval` is missing; write a span of time such as \"00:00:10\""
        );
        assert_eq!(
            error(&json!({
                "strategy": "exponentialBackoff", "maxRetryCount": 1,
                "minimumInterval": "00:01:00", "maximumInterval": "00:00:01"
            })),
            "function `F`: `retry.minimumInterval` is \"00:01:00\"; write no more than `maximumInterval`"
        );
    }

    proptest! {
        #[test]
        fn every_wait_lies_between_the_bounds(retry in any::<u32>(), random in any::<f64>(), min in 0_u64..1000, more in 0_u64..1000) {
            let (min, max) = (Duration::from_secs(min), Duration::from_secs(min + more));
            let policy = Retry { max: None, strategy: Strategy::Exponential { min, max } };
            let delay = policy.delay(retry, random).unwrap();
            prop_assert!(min <= delay && delay <= max);
        }
    }
}
