//! `logging`: which lines are shown.

use super::super::section::Section;

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logging {
    /// From which level on, by category.
    pub levels: LogLevels,
    /// `console.isEnabled`: whether the console shows anything; `None` where it is not said.
    pub console: Option<bool>,
    /// `console.disableColors`.
    pub disable_colors: bool,
}

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For who looks for a mistake.
    Debug,
    /// What happens.
    Information,
    /// What may be wrong.
    Warning,
    /// What is wrong.
    Error,
    /// What stops the app.
    Critical,
    /// No line at all.
    None,
}

/// The levels of `logging.logLevel`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogLevels {
    /// `default`, if it is said.
    pub default: Option<LogLevel>,
    /// Beginnings of categories in lower case, the longest first.
    prefixes: Vec<(String, LogLevel)>,
}

const WORDS: &[(&str, LogLevel)] = &[
    ("Trace", LogLevel::Trace),
    ("Debug", LogLevel::Debug),
    ("Information", LogLevel::Information),
    ("Warning", LogLevel::Warning),
    ("Error", LogLevel::Error),
    ("Critical", LogLevel::Critical),
    ("None", LogLevel::None),
];

impl LogLevel {
    /// A level by its name, whatever its case.
    pub fn parse(text: &str) -> Option<Self> {
        WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|&(_, level)| level)
    }
}

impl LogLevels {
    /// The level of a category if something is said of it: by the longest beginning, else by `default`.
    pub fn find(&self, category: &str) -> Option<LogLevel> {
        let category = category.to_ascii_lowercase();
        let prefix = self.prefixes.iter().find(|(prefix, _)| category.starts_with(prefix.as_str()));
        prefix.map(|&(_, level)| level).or(self.default)
    }

    /// The level of a category; Information where nothing is said.
    pub fn level(&self, category: &str) -> LogLevel {
        self.find(category).unwrap_or(LogLevel::Information)
    }

    fn read(section: Option<Section<'_>>) -> Self {
        let Some(mut section) = section else { return Self::default() };
        let mut levels = Self::default();
        for category in section.keys() {
            let Some(level) = section.choice(&category, WORDS) else { continue };
            if category.eq_ignore_ascii_case("default") {
                levels.default = Some(level);
            } else {
                levels
                    .prefixes
                    .push((category.trim_end_matches(['*', '.']).to_ascii_lowercase(), level));
            }
        }
        levels.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        levels
    }
}

impl Logging {
    pub(super) fn read(section: Option<Section<'_>>) -> Self {
        let Some(mut section) = section else { return Self::default() };
        let mut logging = Self {
            levels: LogLevels::read(section.section("logLevel")),
            console: None,
            disable_colors: false,
        };
        if let Some(mut console) = section.section("console") {
            logging.console = console.flag("isEnabled");
            logging.disable_colors = console.flag("disableColors").unwrap_or(false);
            console.finish();
        }
        section.not_applied(
            &["fileLoggingMode"],
            "lines go to standard error; send them on from there",
        );
        section.not_applied(&["applicationInsights"], "traces and metrics leave by OpenTelemetry");
        section.finish();
        logging
    }
}
