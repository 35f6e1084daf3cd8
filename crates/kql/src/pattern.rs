//! Regular expressions of queries.

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take.
const SIZE_MAX: usize = 1 << 20;

/// Compiles an expression; what is wrong with it in one line otherwise.
pub(crate) fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(SIZE_MAX).build().map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        last.trim_start_matches("error: ").to_owned()
    })
}
