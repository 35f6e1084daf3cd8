//! The files of the repository as the checks see them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::tidy::manifest::Manifest;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root").to_owned()
}

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// What it says, if it is text.
    pub(crate) text: Option<String>,
}

/// All files that are, or are about to be, under version control, by path.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut paths = match listed_by_git(root) {
            Some(paths) => paths,
            None => walked(root, Path::new(""))?,
        };
        paths.sort();
        let files =
            paths.into_iter().filter(|path| root.join(path).is_file()).map(|path| read(root, path));
        Ok(Self { files: files.collect::<anyhow::Result<_>>()? })
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path)?.text.as_deref()
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }

    /// Text files whose name ends so.
    pub(crate) fn texts<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let named = self.files.iter().filter(move |file| file.path.ends_with(ending));
        named.filter_map(|file| Some((file.path.as_str(), file.text.as_deref()?)))
    }

    /// The packages in `crates/`.
    pub(crate) fn crates(&self) -> impl Iterator<Item = Manifest<'_>> {
        self.texts("/Cargo.toml").filter_map(|(path, text)| {
            let folder = path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
            (!folder.contains('/')).then_some(Manifest { path, folder, text })
        })
    }

    /// The manifests of the apps.
    pub(crate) fn apps(&self) -> impl Iterator<Item = &str> {
        self.texts("/Cargo.toml").filter_map(|(path, text)| {
            let folder = path.strip_prefix("apps/")?.strip_suffix("/Cargo.toml")?;
            (!folder.contains('/')).then_some(text)
        })
    }
}

#[cfg(test)]
impl Tree {
    /// A tree of the given texts.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            bytes: text.len() as u64,
            text: Some((*text).to_owned()),
        };
        Self { files: files.iter().map(file).collect() }
    }
}

fn read(root: &Path, path: String) -> anyhow::Result<File> {
    let bytes = fs::read(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
    Ok(File { bytes: bytes.len() as u64, text: String::from_utf8(bytes).ok(), path })
}

/// Files that git knows or would take; `None` where there is no git or no repository.
fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let mut git = Command::new("git");
    // A clone in a container often belongs to another user; reading its list of files is harmless.
    git.args([
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let output = git.current_dir(root).output().ok()?;
    let paths = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| paths.split_terminator('\0').map(str::to_owned).collect())
}

/// Files below a folder, without what builds leave behind: cargo marks its folders with CACHEDIR.TAG.
fn walked(root: &Path, folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root.join(folder))
        .with_context(|| format!("cannot list {}", folder.display()))?
    {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            paths.push(path.to_string_lossy().replace('\\', "/"));
        } else if entry.file_name() != ".git" && !entry.path().join("CACHEDIR.TAG").exists() {
            paths.extend(walked(root, &path)?);
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walking_and_asking_git_agree_on_the_sources() {
        let sources = |paths: Vec<String>| {
            let mut sources: Vec<String> =
                paths.into_iter().filter(|path| path.starts_with("xtask/src/")).collect();
            sources.sort();
            sources
        };
        let walked = sources(walked(&root(), Path::new("")).expect("the root can be listed"));
        assert!(walked.contains(&"xtask/src/tree.rs".to_owned()), "{walked:?}");
        if let Some(listed) = listed_by_git(&root()) {
            assert_eq!(walked, sources(listed));
        }
    }
}
