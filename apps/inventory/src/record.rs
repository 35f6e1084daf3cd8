//! A row of the inventory: every rule that makes a column of what is known of a file.
//!
//! R1  The table has 21 columns in a fixed order; `LastWriteTime` is one more that only the local copy has.
//! R2  What is derived depends on the file and the moment of the listing, and on nothing else.

use serde_json::{Value, json};

use crate::moment;

/// The table.
pub(crate) const TABLE: &str = "FileInventory_CL";
/// Its columns, in order.
pub(crate) const COLUMNS: [&str; 22] = [
    "TimeGenerated",
    "StorageAccount",
    "FileShare",
    "FilePath",
    "FileName",
    "FileExtension",
    "FileSizeBytes",
    "FileSizeMB",
    "FileSizeGB",
    "LastModified",
    "Created",
    "AgeInDays",
    "FileHash",
    "IsDuplicate",
    "DuplicateCount",
    "DuplicateGroupId",
    "FileCategory",
    "AgeBucket",
    "SizeBucket",
    "ScanTimestamp",
    "ExecutionId",
    "LastWriteTime",
];
/// How many of them the table in Azure Monitor has.
pub(crate) const SENT: usize = 21;

const KB: u64 = 1 << 10;
pub(crate) const MB: u64 = 1 << 20;
pub(crate) const GB: u64 = 1 << 30;

/// Names of a kind, and of everything that is sorted by them.
macro_rules! names {
    ($(#[$doc:meta])* $set:ident: $($name:literal),+ $(,)?) => {
        $(#[$doc])*
        pub(crate) const $set: &[&str] = &[$($name),+];
    };
}

names! {
    /// Categories by extension; a row has the number of one.
    CATEGORIES: "Documents", "Images", "Videos", "Audio", "Archives", "Code", "Executables", "Databases", "Logs",
    "Temporary", "Other"
}
names! {
    /// Ages, youngest first, with [`AGE_LIMITS`] between them.
    AGES: "0-7 days", "8-30 days", "31-90 days", "91-180 days", "181-365 days", "1-2 years", "2-5 years", "5+ years"
}
names! {
    /// Sizes, smallest first, with [`SIZE_LIMITS`] between them.
    SIZES: "< 1 KB", "1 KB - 1 MB", "1 MB - 10 MB", "10 MB - 100 MB", "100 MB - 500 MB", "500 MB - 1 GB",
    "1 GB - 5 GB", "5 GB - 10 GB", "10+ GB"
}

/// The most days of each age but the last.
pub(crate) const AGE_LIMITS: [u32; 7] = [7, 30, 90, 180, 365, 730, 1825];
/// The least bytes that are above each size but the last.
pub(crate) const SIZE_LIMITS: [u64; 8] = [KB, MB, 10 * MB, 100 * MB, 500 * MB, GB, 5 * GB, 10 * GB];

/// What a listing says of a file, and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) modified: Option<i64>,
    pub(crate) created: Option<i64>,
    pub(crate) written: Option<i64>,
    pub(crate) hash: Hash,
}

/// The content's fingerprint, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    /// Nobody asked for it.
    Skipped,
    /// The file is above the limit.
    TooLarge,
    /// Reading failed.
    Error,
    Md5([u8; 16]),
}

/// What a row has beyond what the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Derived {
    pub(crate) age_days: i64,
    pub(crate) category: usize,
    pub(crate) age: usize,
    pub(crate) size: usize,
}

impl Derived {
    pub(crate) fn of(file: &File, moment: i64) -> Self {
        let age_days = file.modified.map_or(0, |modified| moment::days(modified, moment));
        Self {
            age_days,
            category: category(extension(&file.name)),
            age: age_bucket(age_days),
            size: size_bucket(file.size),
        }
    }
}

/// From the last dot on, with it; a name that only starts with dots has none.
pub(crate) fn extension(name: &str) -> &str {
    match name.rfind('.') {
        Some(at) if name[..at].bytes().any(|byte| byte != b'.') => &name[at..],
        _ => "",
    }
}

/// The number of the category in [`CATEGORIES`].
pub(crate) fn category(extension: &str) -> usize {
    const LONGEST: usize = 8;
    let mut lower = [0; LONGEST];
    let Some(lower) = lower.get_mut(..extension.len()) else { return CATEGORIES.len() - 1 };
    lower.copy_from_slice(extension.as_bytes());
    lower.make_ascii_lowercase();
    match &*lower {
        b".doc" | b".docx" | b".pdf" | b".txt" | b".rtf" | b".odt" | b".xls" | b".xlsx"
        | b".ppt" | b".pptx" | b".csv" => 0,
        b".jpg" | b".jpeg" | b".png" | b".gif" | b".bmp" | b".tiff" | b".svg" | b".ico"
        | b".webp" | b".raw" => 1,
        b".mp4" | b".avi" | b".mkv" | b".mov" | b".wmv" | b".flv" | b".webm" | b".m4v" => 2,
        b".mp3" | b".wav" | b".flac" | b".aac" | b".ogg" | b".wma" | b".m4a" => 3,
        b".zip" | b".rar" | b".7z" | b".tar" | b".gz" | b".bz2" | b".xz" => 4,
        b".cs" | b".js" | b".ts" | b".py" | b".java" | b".cpp" | b".h" | b".ps1" | b".psm1"
        | b".sh" | b".json" | b".xml" | b".yaml" | b".yml" => 5,
        b".exe" | b".dll" | b".msi" | b".bat" | b".cmd" | b".com" => 6,
        b".sql" | b".mdf" | b".ldf" | b".bak" | b".db" | b".sqlite" => 7,
        b".log" | b".evt" | b".evtx" => 8,
        b".tmp" | b".temp" | b".swp" | b".cache" => 9,
        _ => 10,
    }
}

/// The number of the age in [`AGES`].
pub(crate) fn age_bucket(days: i64) -> usize {
    AGE_LIMITS.iter().take_while(|limit| days > i64::from(**limit)).count()
}

/// The number of the size in [`SIZES`].
pub(crate) fn size_bucket(bytes: u64) -> usize {
    SIZE_LIMITS.iter().take_while(|limit| bytes >= **limit).count()
}

/// Gibibytes with two decimals, ties to the even one.
pub(crate) fn gigabytes(bytes: u64) -> f64 {
    let (scaled, unit) = (u128::from(bytes) * 100, u128::from(GB));
    let (whole, rest) = (scaled / unit, scaled % unit);
    let is_up = rest * 2 > unit || (rest * 2 == unit && whole % 2 == 1);
    #[expect(clippy::cast_precision_loss, reason = "sums of sizes are far below 2^53 hundredths")]
    let hundredths = (whole + u128::from(is_up)) as f64;
    hundredths / 100.0
}

/// A row as Azure Monitor takes it: the columns of a row of the local copy, in order.
pub(crate) fn sent(values: [Value; SENT]) -> Value {
    let mut record = json!({});
    for (name, value) in COLUMNS.iter().zip(values) {
        record[*name] = value;
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_begins_at_the_last_dot_and_keeps_its_case() {
        for (name, expected) in [
            ("a.txt", ".txt"),
            ("a.TXT", ".TXT"),
            ("a.tar.gz", ".gz"),
            ("name.", "."),
            (".bashrc", ""),
            ("..", ""),
            ("...rc", ""),
            (".a.b", ".b"),
            ("..a.b", ".b"),
            ("none", ""),
            ("", ""),
            ("ї.Ї", ".Ї"),
        ] {
            assert_eq!(extension(name), expected, "{name}");
        }
    }

    #[test]
    fn each_extension_has_the_first_category_that_names_it() {
        let expected = [
            (".doc .docx .pdf .txt .rtf .odt .xls .xlsx .ppt .pptx .csv", "Documents"),
            (".jpg .jpeg .png .gif .bmp .tiff .svg .ico .webp .raw", "Images"),
            (".mp4 .avi .mkv .mov .wmv .flv .webm .m4v", "Videos"),
            (".mp3 .wav .flac .aac .ogg .wma .m4a", "Audio"),
            (".zip .rar .7z .tar .gz .bz2 .xz", "Archives"),
            (".cs .js .ts .py .java .cpp .h .ps1 .psm1 .sh .json .xml .yaml .yml", "Code"),
            (".exe .dll .msi .bat .cmd .com", "Executables"),
            (".sql .mdf .ldf .bak .db .sqlite", "Databases"),
            (".log .evt .evtx", "Logs"),
            (".tmp .temp .swp .cache", "Temporary"),
            (".rs .md . .tif .docxx .extension-that-is-long", "Other"),
        ];
        for (extensions, name) in expected {
            for extension in extensions.split(' ') {
                assert_eq!(CATEGORIES[category(extension)], name, "{extension}");
                assert_eq!(CATEGORIES[category(&extension.to_uppercase())], name, "{extension}");
            }
        }
        assert_eq!(CATEGORIES[category("")], "Other");
    }

    #[test]
    fn ages_fall_into_buckets_at_their_limits() {
        for (days, name) in [
            (-1, "0-7 days"),
            (0, "0-7 days"),
            (7, "0-7 days"),
            (8, "8-30 days"),
            (30, "8-30 days"),
            (31, "31-90 days"),
            (90, "31-90 days"),
            (91, "91-180 days"),
            (180, "91-180 days"),
            (181, "181-365 days"),
            (365, "181-365 days"),
            (366, "1-2 years"),
            (730, "1-2 years"),
            (731, "2-5 years"),
            (1825, "2-5 years"),
            (1826, "5+ years"),
        ] {
            assert_eq!(AGES[age_bucket(days)], name, "{days}");
        }
    }

    #[test]
    fn sizes_fall_into_buckets_at_their_limits() {
        for (limit, below, at) in [
            (KB, "< 1 KB", "1 KB - 1 MB"),
            (MB, "1 KB - 1 MB", "1 MB - 10 MB"),
            (10 * MB, "1 MB - 10 MB", "10 MB - 100 MB"),
            (100 * MB, "10 MB - 100 MB", "100 MB - 500 MB"),
            (500 * MB, "100 MB - 500 MB", "500 MB - 1 GB"),
            (GB, "500 MB - 1 GB", "1 GB - 5 GB"),
            (5 * GB, "1 GB - 5 GB", "5 GB - 10 GB"),
            (10 * GB, "5 GB - 10 GB", "10+ GB"),
        ] {
            assert_eq!((SIZES[size_bucket(limit - 1)], SIZES[size_bucket(limit)]), (below, at));
        }
        assert_eq!(SIZES[size_bucket(0)], "< 1 KB");
    }

    #[test]
    #[expect(
        clippy::cast_precision_loss,
        clippy::float_cmp,
        reason = "the digits are to be the same"
    )]
    fn gigabytes_round_to_the_nearest_and_ties_to_even() {
        let mut sizes: Vec<u64> = (0..4000).map(|step| step * 2621).collect();
        sizes.extend((0..63).map(|power| (1_u64 << power) - 1));
        // Exactly between two hundredths.
        sizes.extend((0..4000).map(|step| step * GB / 8));
        for size in sizes.into_iter().filter(|size| *size < 1 << 50) {
            let digits = format!("{:.2}", size as f64 / GB as f64).parse::<f64>().unwrap();
            assert_eq!(gigabytes(size), digits, "{size}");
        }
        assert_eq!(gigabytes(GB / 8), 0.12);
        assert_eq!(gigabytes(3 * GB / 8), 0.38);
    }

    #[test]
    fn a_row_is_derived_from_the_file_and_the_moment_alone() {
        let file = File {
            name: "Report.PDF".to_owned(),
            size: 3 * MB / 2,
            modified: Some(0),
            created: None,
            written: None,
            hash: Hash::Skipped,
        };
        let moment = 40 * 86_400_000;
        let expected = Derived { age_days: 40, category: 0, age: 2, size: 2 };
        assert_eq!(Derived::of(&file, moment), expected);
        let unknown = Derived::of(&File { modified: None, ..file }, moment);
        assert_eq!((unknown.age_days, unknown.age), (0, 0));
    }
}
