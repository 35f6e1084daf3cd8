//! Small files that are replaced whole: a crash leaves what was there before, or what was written.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// Writes a file that everybody may read who may read its folder.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    replace(path, text, File::options().write(true).create(true).truncate(true))
}

/// Writes a file that only its user may read.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    replace(path, text, &options)
}

fn replace(path: &Path, text: &str, options: &fs::OpenOptions) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let draft = path.with_extension("new");
    let mut file = options.open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // So that the name is as durable as the content.
    File::open(folder)?.sync_all()
}
