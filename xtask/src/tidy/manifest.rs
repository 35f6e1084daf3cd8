//! What stands in a `Cargo.toml`, and the rules for it.
//!
//! Only the forms that this repository uses are understood: one dependency a line, tables by their full name. Versions
//! stand once, in the root's `[workspace.dependencies]`, so that no two crates can ask for different ones.

use crate::{tidy::Complaint, tree::Tree};

/// The manifest of a package in `crates/`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manifest<'a> {
    pub(crate) path: &'a str,
    /// The folder's name within `crates/`.
    pub(crate) folder: &'a str,
    pub(crate) text: &'a str,
}

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// The crate itself, at run time or while it is built.
    Code,
    /// Its tests and examples.
    Tests,
}

/// One line of a dependency table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency<'a> {
    pub(crate) name: &'a str,
    pub(crate) used_by: Use,
    from_workspace: bool,
    index: usize,
}

pub(crate) fn package_name(manifest: &str) -> Option<&str> {
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = "))?;
    Some(name.trim().trim_matches('"'))
}

pub(crate) fn dependencies(manifest: &str) -> Vec<Dependency<'_>> {
    let mut table = "";
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        if let Some(name) = line.trim().strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else if let Some(used_by) = use_of(table)
            && let Some(dependency) = dependency(line, used_by, index)
        {
            found.push(dependency);
        }
    }
    found
}

fn use_of(table: &str) -> Option<Use> {
    match table.rsplit('.').next()? {
        _ if table.starts_with("workspace") => None,
        "dependencies" | "build-dependencies" => Some(Use::Code),
        "dev-dependencies" => Some(Use::Tests),
        _ => None,
    }
}

fn dependency(line: &str, used_by: Use, index: usize) -> Option<Dependency<'_>> {
    let (key, value) = line.split('#').next()?.split_once('=')?;
    let (name, field) = key.trim().split_once('.').unwrap_or((key.trim(), ""));
    // A crate that names itself, to turn a feature on for its tests, has no version to agree on.
    let is_itself = value.contains("path = \".\"");
    let from_workspace = field == "workspace" || value.contains("workspace = true") || is_itself;
    Some(Dependency { name, used_by, from_workspace, index })
}

pub(crate) fn check(tree: &Tree) -> Vec<Complaint> {
    // What is a workspace of its own, as fuzz targets are, cannot inherit from this one.
    let manifests: Vec<(&str, &str)> =
        tree.texts("/Cargo.toml").filter(|(_, text)| !text.contains("[workspace]")).collect();
    let mut complaints: Vec<Complaint> =
        manifests.iter().flat_map(|(path, text)| own_versions(path, text)).collect();
    if let Some(root) = tree.text("Cargo.toml") {
        complaints
            .extend(manifests.iter().filter_map(|(path, text)| missing_lints(root, path, text)));
        complaints.extend(unused_versions(root, &manifests));
    }
    complaints
}

fn own_versions<'a>(path: &'a str, text: &'a str) -> impl Iterator<Item = Complaint> + use<'a> {
    dependencies(text).into_iter().filter(|dependency| !dependency.from_workspace).map(move |dependency| {
        let name = dependency.name;
        let remedy = format!("write `{name}.workspace = true`, with the version in the root's [workspace.dependencies]");
        Complaint::line(path, dependency.index, remedy)
    })
}

/// A package takes the lints of the workspace, or repeats them all with some of its own: cargo cannot add to them.
fn missing_lints(root: &str, path: &str, text: &str) -> Option<Complaint> {
    if text.contains("[lints]\nworkspace = true") {
        return None;
    }
    let own = lints(text, "[lints.");
    let missing: Vec<&str> =
        lints(root, "[workspace.lints.").into_iter().filter(|lint| !own.contains(lint)).collect();
    let remedy = format!(
        "add `[lints]` with `workspace = true`, or these lints of the workspace: {}",
        missing.join(", ")
    );
    (!missing.is_empty()).then(|| Complaint::file(path, remedy))
}

/// Names of the lints in all tables that begin so.
fn lints<'a>(manifest: &'a str, table: &str) -> Vec<&'a str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.starts_with(table);
        } else if inside && let Some((lint, _)) = line.split_once('=') {
            found.push(lint.trim());
        }
    }
    found
}

/// Versions in the root that no package asks for; packages of this workspace may stand there unused.
fn unused_versions(root: &str, manifests: &[(&str, &str)]) -> Vec<Complaint> {
    let used: Vec<&str> = manifests
        .iter()
        .flat_map(|(_, text)| dependencies(text))
        .map(|dependency| dependency.name)
        .collect();
    let mut complaints = Vec::new();
    let mut inside = false;
    for (index, line) in root.lines().enumerate() {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        } else if inside
            && !line.contains("path = ")
            && let Some(dependency) = dependency(line, Use::Code, index)
            && !used.contains(&dependency.name)
        {
            let remedy = format!("no crate uses `{}`; take it out", dependency.name);
            complaints.push(Complaint::line("Cargo.toml", index, remedy));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::complaints;

    const SOUND: &str = "[package]\nname = \"everstep-model\"\n\n[dependencies]\nbytes.workspace = true\n\
        lz4_flex = { workspace = true, features = [\"std\"] }\n\n[lints]\nworkspace = true\n";

    #[test]
    fn names_and_uses_of_dependencies_are_read() {
        let text = "[dependencies]\nbytes.workspace = true # cheap slices\n\n[target.'cfg(unix)'.dependencies]\n\
            rustix.workspace = true\n\n[dev-dependencies]\nproptest = { workspace = true }\n\n[features]\nslow = []\n";
        let found: Vec<_> =
            dependencies(text).iter().map(|found| (found.name, found.used_by)).collect();
        assert_eq!(found, [("bytes", Use::Code), ("rustix", Use::Code), ("proptest", Use::Tests)]);
        assert_eq!(package_name(SOUND), Some("everstep-model"));
    }

    #[test]
    fn a_manifest_that_takes_everything_from_the_workspace_is_sound() {
        assert!(complaints(check, &[("crates/model/Cargo.toml", SOUND)]).is_empty());
    }

    #[test]
    fn a_crate_that_names_itself_and_a_workspace_of_its_own_are_sound() {
        let itself = format!(
            "{SOUND}\n[dev-dependencies]\neverstep-model = {{ path = \".\", features = [\"x\"] }}\n"
        );
        let fuzz = "[workspace]\n\n[dependencies]\nlibfuzzer-sys = \"0.4\"\n";
        assert!(
            complaints(check, &[("crates/model/Cargo.toml", &itself), ("fuzz/Cargo.toml", fuzz)])
                .is_empty()
        );
    }

    #[test]
    fn a_version_outside_the_root_is_refused() {
        let text = SOUND.replace("bytes.workspace = true", "bytes = \"1\"");
        assert_eq!(
            complaints(check, &[("crates/model/Cargo.toml", &text)]),
            [
                "crates/model/Cargo.toml:5: write `bytes.workspace = true`, with the version in the root's [workspace.dependencies]"
            ]
        );
    }

    #[test]
    fn unused_versions_are_refused() {
        let root = "[workspace]\n\n[workspace.dependencies]\neverstep-sim = { path = \"crates/sim\" }\n\
            bytes = \"1\"\nlz4_flex = \"1\"\nserde = \"1\"\n";
        assert_eq!(
            complaints(check, &[("Cargo.toml", root), ("crates/model/Cargo.toml", SOUND)]),
            ["Cargo.toml:7: no crate uses `serde`; take it out"]
        );
    }

    #[test]
    fn a_crate_with_lints_of_its_own_repeats_those_of_the_workspace() {
        let root = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n\n[workspace.lints.clippy]\nunwrap_used = \"warn\"\n";
        let engine = "[lints.rust]\nunsafe_code = \"forbid\"\n\n[lints.clippy]\nwildcard_enum_match_arm = \"warn\"\n";
        assert_eq!(
            complaints(check, &[("Cargo.toml", root), ("crates/engine/Cargo.toml", engine)]),
            [
                "crates/engine/Cargo.toml: add `[lints]` with `workspace = true`, or these lints of the workspace: unwrap_used"
            ]
        );
    }
}
