//! Rules for every file: no large ones, and no paths that exist on one machine only.

use crate::{tidy::Complaint, tree::Tree};

const BYTES_MAX: u64 = 1 << 20;

/// Where people's own folders begin. Split, or this file would accuse itself.
const OWN_FOLDERS: [&str; 3] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

pub(crate) fn check(tree: &Tree) -> Vec<Complaint> {
    let large = tree.files.iter().filter(|file| file.bytes > BYTES_MAX).map(|file| {
        let remedy = format!(
            "{} KiB are too many to keep for ever; make it smaller, or make it in a test",
            file.bytes >> 10
        );
        Complaint::file(&file.path, remedy)
    });
    large.chain(tree.texts("").flat_map(|(path, text)| own_folders(path, text))).collect()
}

fn own_folders<'a>(path: &'a str, text: &'a str) -> impl Iterator<Item = Complaint> + use<'a> {
    text.lines().enumerate().filter_map(move |(index, line)| {
        let folder = OWN_FOLDERS.into_iter().find(|folder| begins_a_path(line, folder))?;
        let remedy =
            format!("a path below `{folder}` exists on one machine only; make it relative");
        Some(Complaint::line(path, index, remedy))
    })
}

/// Whether the folder stands in the line as the beginning of a path and not within one.
fn begins_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"_-.}".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::complaints;
    use crate::tree::File;

    #[test]
    fn a_path_of_one_machine_is_found_with_its_line() {
        let text = format!("cd here\ncd {}me/everstep\n", OWN_FOLDERS[0]);
        let found = complaints(check, &[("a.sh", &text)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.sh:2: a path below"), "{found:?}");
    }

    #[test]
    fn the_same_words_within_a_path_are_fine() {
        let text = format!("see docs{}x and https://a.b{}x\n", OWN_FOLDERS[0], OWN_FOLDERS[1]);
        assert!(complaints(check, &[("a.md", &text)]).is_empty());
    }

    #[test]
    fn a_large_file_is_refused() {
        let file = File { path: "a.bin".to_owned(), bytes: BYTES_MAX + 1024, text: None };
        let found = check(&Tree { files: vec![file] });
        assert_eq!(
            found.iter().map(Complaint::to_string).collect::<Vec<_>>(),
            [
                "a.bin: 1025 KiB are too many to keep for ever; make it smaller, or make it in a test"
            ]
        );
    }
}
