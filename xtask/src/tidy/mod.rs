//! Rules of the repository that no compiler knows. Each check takes the files and returns what is wrong with them.
//!
//! T1  A check is a function of the [`Tree`]: it reads nothing else, so a test hands it files that never existed.
//! T2  A complaint names the file and says what to do.
//!
//! The whole is one command (`cargo xtask tidy`) and one ordinary test of this package.

mod arrows;
mod documents;
mod files;
pub(crate) mod manifest;
mod source;

use std::fmt;

use anyhow::bail;

use crate::{
    process::say,
    tree::{self, Tree},
};

/// Something that a person has to change.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Complaint {
    path: String,
    line: Option<usize>,
    remedy: String,
}

impl Complaint {
    fn file(path: &str, remedy: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, remedy: remedy.into() }
    }

    /// About one line; the first has index 0.
    fn line(path: &str, index: usize, remedy: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(index + 1), remedy: remedy.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.remedy),
            None => write!(f, "{}: {}", self.path, self.remedy),
        }
    }
}

const CHECKS: [fn(&Tree) -> Vec<Complaint>; 5] =
    [arrows::check, manifest::check, source::check, files::check, documents::check];

/// Checks the repository.
pub(crate) fn run() -> anyhow::Result<()> {
    let tree = Tree::read(&tree::root())?;
    let complaints = check(&tree);
    for complaint in &complaints {
        say(&complaint.to_string());
    }
    if !complaints.is_empty() {
        bail!("{} complaints", complaints.len());
    }
    say(&format!("{} files are tidy", tree.files.len()));
    Ok(())
}

fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints: Vec<Complaint> = CHECKS.into_iter().flat_map(|check| check(tree)).collect();
    complaints.sort();
    complaints
}

/// What a check says about files with the given texts.
#[cfg(test)]
fn complaints(check: fn(&Tree) -> Vec<Complaint>, files: &[(&str, &str)]) -> Vec<String> {
    check(&Tree::of(files)).iter().map(Complaint::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let tree = Tree::read(&tree::root()).expect("the repository can be read");
        let complaints: Vec<String> = check(&tree).iter().map(Complaint::to_string).collect();
        assert!(complaints.is_empty(), "what to do, file by file:\n{}", complaints.join("\n"));
    }
}
