//! Fingerprints of files of this machine: read in pieces, several files at a time.

use std::{
    ffi::OsStr,
    fs, io,
    io::Read as _,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use md5::{Digest as _, Md5};

/// What is read at once. Some megabytes in all, however large the files are.
const PIECE: usize = 256 << 10;

/// The fingerprints of these files of a folder, in their order.
pub(crate) fn of_files(folder: &Path, names: &[&OsStr]) -> Vec<io::Result<[u8; 16]>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(names.len());
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(names.len()));
    let work = || {
        let mut piece = vec![0; PIECE];
        let mut mine = Vec::new();
        while let Some((at, name)) = take(&next, names) {
            mine.push((at, of_file(&folder.join(name), &mut piece)));
        }
        done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, hash)| hash).collect()
}

fn take<'a>(next: &AtomicUsize, names: &[&'a OsStr]) -> Option<(usize, &'a OsStr)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    names.get(at).map(|name| (at, *name))
}

fn of_file(path: &Path, piece: &mut [u8]) -> io::Result<[u8; 16]> {
    let mut file = fs::File::open(path)?;
    let mut hash = Md5::new();
    loop {
        match file.read(piece) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(length) => hash.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_the_whole_content_in_the_order_of_the_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("empty"), "").unwrap();
        fs::write(folder.path().join("abc"), "abc").unwrap();
        fs::write(folder.path().join("long"), vec![b'a'; 1_000_000]).unwrap();
        let hashes = of_files(folder.path(), &["abc", "missing", "empty", "long"].map(OsStr::new));
        let texts: Vec<_> = hashes
            .into_iter()
            .map(|hash| {
                hash.map_or_else(
                    |error| error.kind().to_string(),
                    |hash| format!("{:032X}", u128::from_be_bytes(hash)),
                )
            })
            .collect();
        assert_eq!(
            texts,
            [
                "900150983CD24FB0D6963F7D28E17F72",
                "entity not found",
                "D41D8CD98F00B204E9800998ECF8427E",
                "7707D6AE4E027C70EEA2A935C2296F21",
            ]
        );
    }
}
