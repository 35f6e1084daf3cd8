//! What can be set, read once when the app starts.
//!
//! S1  An empty setting counts as missing.
//! S2  What cannot be used ends the start with the setting's name and what to write.
//! S3  The orchestrator sees none of this: what it depends on stands in its input.

use std::ops::RangeInclusive;

use everstep_host::Encoding;

use crate::language::Language;

/// How long an answer may take, unless something else is said.
pub(crate) const TIMEOUT_SECONDS: u64 = 360;
/// What may be said: up to a week.
pub(crate) const TIMEOUT_RANGE: RangeInclusive<u64> = 1..=604_800;

/// How the app works.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) timeout_seconds: u64,
    /// The queue that requests go to.
    pub(crate) requests: String,
    /// The queue that answers come from.
    pub(crate) answers: String,
    pub(crate) encoding: Encoding,
    pub(crate) language: Language,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the setting {name} is `{found}`; write {expected}")]
pub struct BadSetting {
    name: &'static str,
    found: String,
    expected: &'static str,
}

impl Settings {
    pub(crate) fn read<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<Self, BadSetting> {
        let find = |name: &str| setting(name).map(str::trim).filter(|text| !text.is_empty());
        let read = |name, default: &str, expected| {
            let text = find(name).unwrap_or(default).to_owned();
            (text.clone(), BadSetting { name, found: text, expected })
        };
        let (seconds, bad) =
            read("VIDEO_TIMEOUT_SECONDS", "360", "a whole number of seconds from 1 to 604800");
        let timeout_seconds =
            seconds.parse().ok().filter(|seconds| TIMEOUT_RANGE.contains(seconds)).ok_or(bad)?;
        let queue = |name, default| {
            let expected =
                "3 to 63 lower-case letters, digits and single `-`, neither first nor last";
            let (text, bad) = read(name, default, expected);
            if is_queue(&text) { Ok(text) } else { Err(bad) }
        };
        let requests = queue("VIDEO_REQUEST_QUEUE", "video-to-processing")?;
        let answers = queue("VIDEO_ANSWER_QUEUE", "video-processed")?;
        if requests == answers {
            let expected = "another name than VIDEO_REQUEST_QUEUE has";
            return Err(BadSetting { name: "VIDEO_ANSWER_QUEUE", found: answers, expected });
        }
        let (text, bad) = read("VIDEO_REQUEST_ENCODING", "none", "`none` or `base64`");
        let encoding = match text.to_ascii_lowercase().as_str() {
            "none" => Encoding::None,
            "base64" => Encoding::Base64,
            _ => return Err(bad),
        };
        let (text, bad) = read("VIDEO_LANGUAGE", "uk", "`uk` or `en`");
        let language = match text.to_ascii_lowercase().as_str() {
            "uk" => Language::Ukrainian,
            "en" => Language::English,
            _ => return Err(bad),
        };
        Ok(Self { timeout_seconds, requests, answers, encoding, language })
    }
}

fn is_queue(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (3..=63).contains(&name.len())
        && name.chars().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &'static str)]) -> Result<Settings, String> {
        let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        Settings::read(find).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let defaults = Settings {
            timeout_seconds: TIMEOUT_SECONDS,
            requests: "video-to-processing".to_owned(),
            answers: "video-processed".to_owned(),
            encoding: Encoding::None,
            language: Language::Ukrainian,
        };
        assert_eq!(read(&[]), Ok(defaults.clone()));
        assert_eq!(read(&[("VIDEO_LANGUAGE", " "), ("VIDEO_TIMEOUT_SECONDS", "")]), Ok(defaults));
    }

    #[test]
    fn everything_can_be_set() {
        let set = read(&[
            ("VIDEO_TIMEOUT_SECONDS", "604800"),
            ("VIDEO_REQUEST_QUEUE", "to-do"),
            ("VIDEO_ANSWER_QUEUE", "done"),
            ("VIDEO_REQUEST_ENCODING", "Base64"),
            ("VIDEO_LANGUAGE", "EN"),
        ]);
        let expected = Settings {
            timeout_seconds: 604_800,
            requests: "to-do".to_owned(),
            answers: "done".to_owned(),
            encoding: Encoding::Base64,
            language: Language::English,
        };
        assert_eq!(set, Ok(expected));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_what_to_write() {
        let text = |name, found| read(&[(name, found)]).unwrap_err();
        for found in ["0", "604801", "1.5", "-1", "soon"] {
            assert_eq!(
                text("VIDEO_TIMEOUT_SECONDS", found),
                format!(
                    "the setting VIDEO_TIMEOUT_SECONDS is `{found}`; write a whole number of seconds from 1 to 604800"
                )
            );
        }
        for name in ["VIDEO_REQUEST_QUEUE", "VIDEO_ANSWER_QUEUE"] {
            for found in ["Video", "ab", "-abc", "abc-", "a--b", "a_b"] {
                assert_eq!(
                    text(name, found),
                    format!(
                        "the setting {name} is `{found}`; write 3 to 63 lower-case letters, digits and single `-`, neither first nor last"
                    )
                );
            }
        }
        assert_eq!(
            text("VIDEO_ANSWER_QUEUE", "video-to-processing"),
            "the setting VIDEO_ANSWER_QUEUE is `video-to-processing`; write another name than VIDEO_REQUEST_QUEUE has"
        );
        assert_eq!(
            text("VIDEO_REQUEST_ENCODING", "gzip"),
            "the setting VIDEO_REQUEST_ENCODING is `gzip`; write `none` or `base64`"
        );
        assert_eq!(
            text("VIDEO_LANGUAGE", "fr"),
            "the setting VIDEO_LANGUAGE is `fr`; write `uk` or `en`"
        );
    }
}
