//! The sample queries: each runs on a generated table and answers what a straightforward computation answers.

#![allow(clippy::cast_precision_loss, reason = "sizes of generated files are small")]
#![allow(dead_code, reason = "each test crate uses a part of the support module")]

mod support;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    process::{Command, Stdio},
};

use everstep_kql::{INVENTORY, Schema, chart};
use support::{DAY, File, NOW, answer, compiled, database, files, rounded, sample, samples};

fn grouped<K: Ord>(files: &[File], key: impl Fn(&File) -> K) -> BTreeMap<K, Vec<&File>> {
    let mut groups: BTreeMap<K, Vec<&File>> = BTreeMap::new();
    for file in files {
        groups.entry(key(file)).or_default().push(file);
    }
    groups
}

fn bytes(files: &[&File]) -> i64 {
    files.iter().map(|file| file.bytes).sum()
}

/// Compares the answer of a sample with rows that were computed here.
fn check(name: &str, compute: impl FnOnce(&[File]) -> Vec<String>) {
    let files = files();
    let found = answer(&database(&files), &sample(name));
    let wanted = compute(&files);
    assert!(!wanted.is_empty(), "{name} finds something");
    assert_eq!(found, wanted, "{name}");
}

/// Compares as sets, where the query's order leaves a choice.
fn check_any_order(name: &str, compute: impl FnOnce(&[File]) -> Vec<String>) {
    let files = files();
    let mut found = answer(&database(&files), &sample(name));
    let mut wanted = compute(&files);
    found.sort();
    wanted.sort();
    assert!(!wanted.is_empty(), "{name} finds something");
    assert_eq!(found, wanted, "{name}");
}

/// `SQLite` and Rust add floating-point numbers in different ways; after rounding they agree to the last digit or nearly.
fn check_numbers(name: &str, compute: impl FnOnce(&[File]) -> Vec<String>) {
    let files = files();
    let found = answer(&database(&files), &sample(name));
    let wanted = compute(&files);
    assert_eq!(found.len(), wanted.len(), "{name}");
    for (found, wanted) in found.iter().zip(&wanted) {
        for (a, b) in found.split(" | ").zip(wanted.split(" | ")) {
            let near = match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) => (a - b).abs() < 0.02,
                _ => a == b,
            };
            assert!(near, "{name}: {found} is not {wanted}");
        }
    }
}

const NEWEST: &str = "5e0a7c2e-0000-4000-8000-000000000002";

#[test]
fn there_are_forty_samples_and_each_says_what_it_answers() {
    let samples = samples();
    assert_eq!(samples.len(), 40);
    for (name, text) in samples {
        assert!(text.starts_with("// ") && text.ends_with('\n'), "{name}");
    }
}

#[test]
fn all_samples_run() {
    let files = files();
    let connection = database(&files);
    let mut report = String::new();
    for (name, text) in samples() {
        let query = compiled(&text);
        let rows = answer(&connection, &text);
        let columns: Vec<String> = query
            .columns
            .iter()
            .map(|column| format!("{}: {}", column.name, column.kind))
            .collect();
        report.extend([
            &name,
            "\n  ",
            &columns.join(", "),
            "\n  ",
            &rows.len().to_string(),
            " rows\n",
        ]);
        for row in rows.iter().take(3) {
            report.extend(["  ", &row.chars().take(160).collect::<String>(), "\n"]);
        }
        if let Some(render) = &query.render {
            let rows = query.rows(&connection).unwrap();
            let svg = chart::of(render, &query.columns, &rows).expect("numbers are there");
            assert!(svg.starts_with("<svg") && !svg.contains("NaN"), "{name}: {svg}");
        }
    }
    insta::assert_snapshot!(report);
}

#[test]
fn files_and_size_per_share() {
    check_numbers("1.1", |files| {
        let files: Vec<File> =
            files.iter().filter(|file| file.execution == NEWEST).cloned().collect();
        let mut rows: Vec<(f64, &str, usize)> = grouped(&files, |file| file.share)
            .into_iter()
            .map(|(share, files)| (files.iter().map(|file| file.gb()).sum(), share, files.len()))
            .collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        rows.iter()
            .map(|(gb, share, count)| format!("{share} | {count} | {:?}", rounded(*gb, 2)))
            .collect()
    });
}

#[test]
fn the_largest_files() {
    check_any_order("1.2", |files| {
        let mut files: Vec<&File> = files.iter().collect();
        files.sort_by_key(|file| (Reverse(file.bytes), file.share, &file.path));
        let connection = database(&[]);
        let moment = |file: &File| -> String {
            file.modified.map_or("null".to_owned(), |modified| {
                connection
                    .query_row(
                        "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', ?, 'unixepoch')",
                        [modified],
                        |row| row.get(0),
                    )
                    .unwrap()
            })
        };
        let row = |file: &&File| {
            format!("{} | {} | {:?} | {}", file.share, file.path, file.mb(), moment(file))
        };
        files.iter().take(100).map(row).collect()
    });
}

#[test]
fn size_buckets_from_small_to_large() {
    check("1.3", |files| {
        let mut rows: Vec<(i64, &str, usize, i64)> = grouped(files, File::size_bucket)
            .into_iter()
            .map(|(bucket, files)| {
                (
                    files.iter().map(|file| file.bytes).min().unwrap(),
                    bucket,
                    files.len(),
                    bytes(&files),
                )
            })
            .collect();
        rows.sort_unstable();
        rows.iter()
            .map(|(_, bucket, count, bytes)| format!("{bucket} | {count} | {bytes}"))
            .collect()
    });
}

#[test]
fn statistics_of_sizes() {
    check_numbers("1.4", |files| {
        grouped(files, |file| file.share)
            .into_iter()
            .map(|(share, files)| {
                let mut sizes: Vec<f64> = files.iter().map(|file| file.mb()).collect();
                sizes.sort_by(f64::total_cmp);
                let count = sizes.len() as f64;
                let mean = sizes.iter().sum::<f64>() / count;
                let squares: f64 = sizes.iter().map(|size| (size - mean).powi(2)).sum();
                let at = |percent: usize| sizes[(sizes.len() * percent).div_ceil(100) - 1];
                let deviation = (squares / (count - 1.0)).sqrt();
                format!("{share} | {mean} | {} | {} | {deviation}", at(50), at(95))
            })
            .collect()
    });
}

#[test]
fn space_as_a_share_of_the_total() {
    check("1.5", |files| {
        let total = bytes(&files.iter().collect::<Vec<_>>());
        let mut rows: Vec<(i64, &str)> = grouped(files, |file| file.share)
            .into_iter()
            .map(|(share, files)| (bytes(&files), share))
            .collect();
        rows.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let percent = |bytes: i64| rounded(bytes as f64 / total as f64 * 100.0, 2);
        rows.iter()
            .map(|(bytes, share)| format!("{share} | {bytes} | {:?}", percent(*bytes)))
            .collect()
    });
}

#[test]
fn age_classes_with_percentages() {
    check("2.3", |files| {
        let class = |file: &File| match file.age {
            ..=30 => "active",
            31..=365 => "aging",
            366..=1825 => "old",
            _ => "ancient",
        };
        let mut rows: Vec<(Reverse<usize>, &str)> = grouped(files, class)
            .into_iter()
            .map(|(class, files)| (Reverse(files.len()), class))
            .collect();
        rows.sort_unstable();
        let percent = |count: usize| rounded(100.0 * count as f64 / files.len() as f64, 1);
        rows.iter()
            .map(|(count, class)| format!("{class} | {} | {:?}", count.0, percent(count.0)))
            .collect()
    });
}

#[test]
fn days_of_change_are_cut_exactly() {
    check("2.4", |files| {
        let mut days: BTreeMap<i64, usize> = BTreeMap::new();
        for modified in files.iter().filter_map(|file| file.modified) {
            if modified > NOW - 30 * DAY {
                *days.entry(modified.div_euclid(DAY)).or_default() += 1;
            }
        }
        let connection = database(&[]);
        let day = |day: i64| -> String {
            let sql = "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', ?, 'unixepoch')";
            connection.query_row(sql, [day * DAY], |row| row.get(0)).unwrap()
        };
        days.into_iter().map(|(at, count)| format!("{} | {count}", day(at))).collect()
    });
}

#[test]
fn the_oldest_file_of_each_share() {
    let files = files();
    let found = answer(&database(&files), &sample("2.6"));
    let groups = grouped(&files, |file| file.share);
    assert_eq!(found.len(), groups.len());
    for (row, (share, files)) in found.iter().zip(groups) {
        let oldest = files.iter().filter_map(|file| file.modified).min();
        let candidates: Vec<String> = files
            .iter()
            .filter(|file| file.modified == oldest)
            .map(|file| format!("| {} | {}", file.path, file.bytes))
            .collect();
        assert!(row.starts_with(share) && candidates.iter().any(|end| row.ends_with(end)), "{row}");
    }
}

#[test]
fn space_that_is_cold() {
    check_numbers("2.7", |files| {
        let mut rows: Vec<(f64, &str, f64, f64)> = grouped(files, |file| file.share)
            .into_iter()
            .map(|(share, files)| {
                let all = rounded(files.iter().map(|file| file.gb()).sum(), 2);
                let old = files.iter().filter(|file| file.age >= 365);
                let cold = rounded(old.map(|file| file.gb()).sum(), 2);
                (rounded(cold / all * 100.0, 1), share, cold, all)
            })
            .collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        rows.iter()
            .map(|(part, share, cold, all)| format!("{share} | {cold} | {all} | {part}"))
            .collect()
    });
}

#[test]
fn names_and_sizes_that_occur_twice() {
    let files = files();
    let found = answer(&database(&files), &sample("4.1"));
    let groups = grouped(&files, |file| (file.name.clone(), file.bytes));
    let wanted: BTreeSet<String> = groups
        .into_iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|((name, bytes), files)| format!("{name} | {bytes} | {}", files.len()))
        .collect();
    let found: BTreeSet<String> =
        found.iter().map(|row| row.split(" | ").take(3).collect::<Vec<_>>().join(" | ")).collect();
    assert_eq!(found, wanted);
}

#[test]
fn space_that_copies_take_per_share() {
    check("4.3", |files| {
        let hashed: Vec<File> = files.iter().filter(|file| file.is_hashed()).cloned().collect();
        let counts = grouped(&hashed, |file| file.hash.clone());
        let copies: Vec<File> =
            hashed.iter().filter(|file| counts[&file.hash].len() > 1).cloned().collect();
        let mut rows: Vec<(Reverse<i64>, &str, usize)> = grouped(&copies, |file| file.share)
            .into_iter()
            .map(|(share, files)| (Reverse(bytes(&files)), share, files.len()))
            .collect();
        rows.sort_unstable();
        rows.iter()
            .map(|(bytes, share, count)| format!("{share} | {count} | {}", bytes.0))
            .collect()
    });
}

#[test]
fn growth_from_scan_to_scan() {
    let files = files();
    let found = answer(&database(&files), &sample("6.2"));
    let scans = grouped(&files, |file| (file.scanned, file.execution));
    let mut before: Option<(i64, i64)> = None;
    for (row, ((_, execution), files)) in found.iter().zip(&scans) {
        let (count, sum) = (i64::try_from(files.len()).unwrap(), bytes(files));
        let (new_files, new_bytes) = before
            .map_or(("null".to_owned(), "null".to_owned()), |(files, bytes)| {
                ((count - files).to_string(), (sum - bytes).to_string())
            });
        let wanted = format!("{execution} | {count} | {new_files} | {sum} | {new_bytes}");
        assert!(row.ends_with(&wanted), "{row} is not {wanted}");
        before = Some((count, sum));
    }
    assert_eq!(found.len(), 2);
}

#[test]
fn files_that_only_the_newest_scan_has() {
    check("6.4", |files| {
        let key = |file: &File| (file.share, file.path.clone());
        let old: BTreeSet<_> =
            files.iter().filter(|file| file.execution != NEWEST).map(key).collect();
        let new: BTreeMap<_, _> = files
            .iter()
            .filter(|file| file.execution == NEWEST && !old.contains(&key(file)))
            .map(|file| (key(file), file.bytes))
            .collect();
        new.into_iter()
            .map(|((share, path), bytes)| format!("{share} | {path} | {bytes}"))
            .collect()
    });
}

#[test]
fn the_category_that_dominates_each_share() {
    check("7.2", |files| {
        let mut best: BTreeMap<&str, (i64, &str)> = BTreeMap::new();
        for ((share, category), files) in grouped(files, |file| (file.share, file.category)) {
            let sum = bytes(&files);
            let entry = best.entry(share).or_insert((sum, category));
            if sum > entry.0 {
                *entry = (sum, category);
            }
        }
        best.into_iter()
            .map(|(share, (bytes, category))| format!("{share} | {category} | {bytes}"))
            .collect()
    });
}

#[test]
fn empty_files_by_share_and_extension() {
    let files = files();
    let found = answer(&database(&files), &sample("8.3"));
    let empty: Vec<File> = files.iter().filter(|file| file.bytes == 0).cloned().collect();
    let mut rows: Vec<_> = grouped(&empty, |file| (file.share, file.extension))
        .into_iter()
        .map(|((share, extension), files)| (Reverse(files.len()), share, extension))
        .collect();
    rows.sort_unstable();
    let wanted: Vec<String> = rows
        .iter()
        .map(|(count, share, extension)| format!("{share} | {extension} | {} | ", count.0))
        .collect();
    assert_eq!(found.len(), wanted.len());
    assert!(
        found.iter().zip(&wanted).all(|(row, start)| row.starts_with(start)),
        "{found:?}\n{wanted:?}"
    );
}

/// Microsoft's parser agrees that the samples are KQL, and on the columns of each answer.
///
/// It is no part of this repository: the variable `KQL_JUDGE` names a folder in which `npm install
/// @kusto/language-service-next` has run.
#[test]
#[ignore = "needs node"]
fn the_official_parser_accepts_all_samples() {
    let columns: Vec<String> = Schema::inventory().tables[0]
        .columns
        .iter()
        .map(|column| format!("{}: {}", column.name, column.kind))
        .collect();
    let queries: Vec<serde_json::Value> = samples()
        .iter()
        .map(|(name, text)| serde_json::json!({"name": name, "text": text}))
        .collect();
    let schema = serde_json::json!([[INVENTORY, format!("({})", columns.join(", "))]]);
    let input = serde_json::json!({"schema": schema, "queries": queries}).to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judge/judge.js");
    let mut child = Command::new("node")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let verdicts: Vec<serde_json::Value> =
        serde_json::from_slice(&output.stdout).expect("verdicts are JSON");
    assert_eq!(verdicts.len(), 40);
    for (verdict, (name, text)) in verdicts.iter().zip(samples()) {
        assert_eq!(verdict["errors"], serde_json::json!([]), "{name}");
        let ours: Vec<String> = compiled(&text)
            .columns
            .iter()
            .map(|column| format!("{}:{}", column.name, column.kind))
            .collect();
        assert_eq!(verdict["columns"], serde_json::json!(ours), "{name}");
    }
}
