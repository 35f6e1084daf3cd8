//! Where stores are made: a folder on a disk that keeps what it is told to keep.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// File systems that live in memory, by the numbers of `statfs(2)`.
const IN_MEMORY: [(i64, &str); 2] = [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];

/// A fresh folder below the given one, or below the one that builds go to; removed when dropped.
pub(crate) fn fresh(parent: Option<&Path>) -> anyhow::Result<TempDir> {
    let parent = parent.map_or_else(beside_builds, Path::to_owned);
    fs::create_dir_all(&parent)
        .with_context(|| format!("cannot make the folder {}", parent.display()))?;
    refuse_memory(&parent)?;
    let made = tempfile::Builder::new().prefix("everstep-bench-").tempdir_in(&parent);
    made.with_context(|| format!("cannot make a folder in {}", parent.display()))
}

/// The folder builds go to, if this program lies in it; else where the caller stands.
fn beside_builds() -> PathBuf {
    builds_of(&env::current_exe().unwrap_or_default()).unwrap_or_else(|| PathBuf::from("."))
}

/// Above the folder of the profile that a program was built for.
fn builds_of(program: &Path) -> Option<PathBuf> {
    let of_profile = |folder: &&Path| folder.ends_with("debug") || folder.ends_with("release");
    program.ancestors().find(of_profile)?.parent().map(Path::to_owned)
}

fn refuse_memory(folder: &Path) -> anyhow::Result<()> {
    let kind = rustix::fs::statfs(folder)
        .with_context(|| format!("cannot look at {}", folder.display()))?
        .f_type;
    if let Some((_, name)) = IN_MEMORY.into_iter().find(|(number, _)| *number == kind) {
        bail!(
            "{} lies on {name}, which forgets everything and flushes nothing; give --dir a folder on a disk",
            folder.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_memory_is_refused() {
        let shared_memory = Path::new("/dev/shm");
        let is_tmpfs =
            rustix::fs::statfs(shared_memory).is_ok_and(|found| found.f_type == IN_MEMORY[0].0);
        if is_tmpfs {
            let error = refuse_memory(shared_memory).expect_err("tmpfs is refused");
            assert!(error.to_string().starts_with("/dev/shm lies on tmpfs"), "{error}");
        }
    }

    #[test]
    fn the_default_folder_lies_among_the_builds() {
        let of = |program: &str| builds_of(Path::new(program));
        assert_eq!(of("/a/target/release/bench"), Some("/a/target".into()));
        assert_eq!(of("/a/target/debug/deps/bench-1"), Some("/a/target".into()));
        assert_eq!(of("/usr/bin/bench"), None);
    }
}
