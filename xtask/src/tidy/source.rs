//! Rules for Rust files: each says what it is for, and holds nothing unfinished.

use crate::{tidy::Complaint, tree::Tree};

/// What does not land, and what to do instead. Split, or this file would accuse itself.
const UNFINISHED: [(&str, &str); 6] = [
    (concat!("to", "do!("), "write the code, or leave the function out"),
    (concat!("unimpl", "emented!("), "write the code, or leave the function out"),
    (concat!("db", "g!("), "take the debugging aid out"),
    (concat!("TO", "DO"), "open an issue and leave the comment out"),
    (concat!("FIX", "ME"), "open an issue and leave the comment out"),
    (
        concat!("#[ig", "nore"),
        "assert what happens and say why it is wrong; a test that does not run tells nothing, unless `cargo xtask test` brings what it `needs`",
    ),
];

/// A test that needs a program from outside; `cargo xtask test apps` or `python` installs it and runs the test.
const NEEDS: &str = concat!("#[ig", "nore = \"needs ");

pub(crate) fn check(tree: &Tree) -> Vec<Complaint> {
    tree.texts(".rs")
        .flat_map(|(path, text)| headless(path, text).into_iter().chain(unfinished(path, text)))
        .collect()
}

fn headless(path: &str, text: &str) -> Option<Complaint> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let has_head = first.starts_with("//!") || first.starts_with("#![doc = include_str!(");
    // Programs that must not compile are kept as short as their messages.
    let is_exempt = path.contains("/compile_fail/");
    let remedy = "begin with a `//!` head: what the module is responsible for, its invariants, what is absent";
    (!has_head && !is_exempt).then(|| Complaint::file(path, remedy))
}

fn unfinished<'a>(path: &'a str, text: &'a str) -> impl Iterator<Item = Complaint> + use<'a> {
    text.lines().enumerate().flat_map(move |(index, line)| {
        let is_unfinished =
            |(mark, _): &(&str, &str)| line.contains(mark) && !line.trim().starts_with(NEEDS);
        let marks = UNFINISHED.into_iter().filter(is_unfinished);
        marks.map(move |(mark, remedy)| {
            Complaint::line(path, index, format!("`{mark}` does not land: {remedy}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::complaints;

    #[test]
    fn a_module_with_a_head_passes() {
        assert!(
            complaints(check, &[("crates/a/src/b.rs", "//! Timers.\n\nfn f() {}\n")]).is_empty()
        );
        let readme = "#![doc = include_str!(\"../README.md\")]\n";
        assert!(complaints(check, &[("crates/a/src/lib.rs", readme)]).is_empty());
    }

    #[test]
    fn a_module_without_a_head_is_told_to_have_one() {
        assert_eq!(
            complaints(check, &[("crates/a/src/b.rs", "\nuse std::fmt;\n//! late\n")]),
            [
                "crates/a/src/b.rs: begin with a `//!` head: what the module is responsible for, its invariants, what is absent"
            ]
        );
        assert!(
            complaints(check, &[("crates/sdk/tests/compile_fail/wrong.rs", "fn main() {}\n")])
                .is_empty()
        );
    }

    #[test]
    fn unfinished_code_is_found_with_its_line() {
        for (mark, remedy) in UNFINISHED {
            let text = format!("//! Head.\n\n    {mark}\n");
            assert_eq!(
                complaints(check, &[("a.rs", &text)]),
                [format!("a.rs:3: `{mark}` does not land: {remedy}")]
            );
        }
    }
}
