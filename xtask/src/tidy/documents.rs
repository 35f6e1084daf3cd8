//! Rules for documents: links lead somewhere, decisions are numbered and listed, the changelog is open at the top.

use crate::{tidy::Complaint, tree::Tree};

const DECISIONS: &str = "docs/decisions/";
const INDEX: &str = "docs/decisions/README.md";
const CHANGELOG: &str = "CHANGELOG.md";
const CI: &str = ".ci/run";
const README: &str = "README.md";

pub(crate) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints: Vec<Complaint> =
        tree.texts(".md").flat_map(|(path, text)| dead_links(tree, path, text)).collect();
    complaints.extend(decisions(tree));
    complaints.extend(tree.text(CHANGELOG).and_then(changelog));
    complaints.extend(
        tree.text(CI).and_then(|script| ci_command(script, tree.text(README).unwrap_or_default())),
    );
    complaints
}

fn dead_links(tree: &Tree, path: &str, text: &str) -> Vec<Complaint> {
    let links = text
        .lines()
        .enumerate()
        .flat_map(|(index, line)| link_targets(line).map(move |target| (index, target)));
    links
        .filter(|(_, target)| !tree.contains(&resolved(path, target)))
        .map(|(index, target)| {
            Complaint::line(
                path,
                index,
                format!("the link to `{target}` leads nowhere; mend it or take it out"),
            )
        })
        .collect()
}

/// Targets of the links in a line that name files, without what follows a `#`.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    files
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.is_empty() && is_a_path(target))
}

/// Rust code in a document has brackets too; a path has no spaces and names a file or a folder.
fn is_a_path(target: &str) -> bool {
    target.contains(['.', '/']) && !target.contains([' ', ':', '&', '"'])
}

/// A target as a path from the root.
fn resolved(document: &str, target: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn decisions(tree: &Tree) -> Vec<Complaint> {
    let pages: Vec<(&str, &str, &str)> = tree
        .texts(".md")
        .filter(|(path, _)| *path != INDEX)
        .filter_map(|(path, text)| Some((path, path.strip_prefix(DECISIONS)?, text)))
        .collect();
    let index = tree.text(INDEX).unwrap_or_default();
    let mut complaints = Vec::new();
    for (n, (path, name, text)) in pages.iter().enumerate() {
        let number = format!("{:04}", n + 1);
        if !name.starts_with(&format!("{number}-")) {
            let remedy =
                format!("decisions are numbered without gaps; this one is {number}-TITLE.md");
            complaints.push(Complaint::file(path, remedy));
        } else if !text.starts_with(&format!("# {number} ")) {
            complaints
                .push(Complaint::file(path, format!("begin with the line `# {number} TITLE`")));
        }
        if !index.contains(&format!("]({name})")) {
            complaints.push(Complaint::file(INDEX, format!("add a line that links to {name}")));
        }
    }
    complaints
}

fn changelog(text: &str) -> Option<Complaint> {
    let first = text.lines().find(|line| line.starts_with("## "));
    let remedy = "put `## [Unreleased]` above all releases; a change is described there in the commit that makes it";
    (first != Some("## [Unreleased]")).then(|| Complaint::file(CHANGELOG, remedy))
}

/// What people are told to run and what the machine runs are one command.
fn ci_command(script: &str, readme: &str) -> Option<Complaint> {
    let command = script.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let remedy = format!(
        "its last line is `{command}`; make it the command that {README} names for all tests"
    );
    (!readme.lines().any(|line| line == command)).then(|| Complaint::file(CI, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::complaints;

    #[test]
    fn links_are_followed_from_the_documents_own_folder() {
        let files = [
            (
                "README.md",
                "See [it](docs/a.md#top), [them](docs) and [that](https://example.com/x).\n",
            ),
            ("docs/a.md", "Back to [the start](../README.md); `call::<u8>[0](x)` is code.\n"),
        ];
        assert!(complaints(check, &files).is_empty());
    }

    #[test]
    fn a_dead_link_is_found_with_its_line() {
        assert_eq!(
            complaints(check, &[("docs/a.md", "\n[b](b.md)\n")]),
            ["docs/a.md:2: the link to `b.md` leads nowhere; mend it or take it out"]
        );
    }

    #[test]
    fn decisions_are_numbered_without_gaps_and_listed() {
        let files = [
            ("docs/decisions/0001-one.md", "# 0001 One\n"),
            ("docs/decisions/0003-three.md", "# 0003 Three\n"),
            ("docs/decisions/README.md", "- [0001](0001-one.md)\n"),
        ];
        assert_eq!(
            complaints(check, &files),
            [
                "docs/decisions/0003-three.md: decisions are numbered without gaps; this one is 0002-TITLE.md",
                "docs/decisions/README.md: add a line that links to 0003-three.md",
            ]
        );
    }

    #[test]
    fn the_changelog_is_open_at_the_top() {
        assert!(
            complaints(
                check,
                &[("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n## [0.1.0]\n")]
            )
            .is_empty()
        );
        assert_eq!(complaints(check, &[("CHANGELOG.md", "# Changelog\n\n## [0.1.0]\n")]).len(), 1);
    }

    #[test]
    fn the_readme_names_what_the_machine_runs() {
        let script = (CI, "#!/bin/sh\ncargo xtask ci\n");
        assert!(
            complaints(check, &[script, (README, "Run:\n\n```sh\ncargo xtask ci\n```\n")])
                .is_empty()
        );
        assert_eq!(
            complaints(check, &[script, (README, "Run `cargo test`.\n")]),
            [
                ".ci/run: its last line is `cargo xtask ci`; make it the command that README.md names for all tests"
            ]
        );
    }
}
