//! Queries that cannot be compiled: each says where, and what to write instead.

use everstep_kql::{Schema, compile};
use insta::assert_snapshot;

fn error(query: &str) -> String {
    match compile(query, &Schema::inventory()) {
        Ok(compiled) => panic!("`{query}` was compiled to {}", compiled.sql),
        Err(error) => error.to_string(),
    }
}

/// Snapshots of several errors in one.
fn errors(queries: &[&str]) -> String {
    queries.iter().map(|query| error(query)).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn count_takes_no_parentheses() {
    assert_snapshot!(error(
        "let total = toscalar(FileInventory_CL | count());\nFileInventory_CL | take 1"
    ));
}

#[test]
fn case_takes_conditions() {
    assert_snapshot!(error(
        "FileInventory_CL\n| extend Order = case(SizeBucket, \"< 1 KB\", 1, \"1 KB - 1 MB\", 2, 3)"
    ));
}

#[test]
fn a_date_that_is_a_text_cannot_be_formatted() {
    assert_snapshot!(error(
        "FileInventory_CL\n| extend Day = format_datetime(TimeGenerated, \"yyyy-MM-dd\")\n| project format_datetime(Day, \"MM\")"
    ));
}

#[test]
fn an_aggregate_cannot_stand_within_another() {
    assert_snapshot!(error(
        "FileInventory_CL\n| summarize arg_max(count(), FileCategory) by FileShare"
    ));
}

#[test]
fn mistyped_names_are_suggested() {
    assert_snapshot!(errors(&[
        "FileInventry_CL | take 1",
        "FileInventory_CL | sumarize count()",
        "FileInventory_CL | where FileSizeByte > 1",
        "FileInventory_CL | extend a = tolowr(FileName)",
        "FileInventory_CL | join kind=innr (FileInventory_CL) on FilePath",
        "FileInventory_CL | summarize count() by FileShare | render pichart",
    ]));
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    assert_snapshot!(errors(&[
        "FileInventory_CL | make-series count() on TimeGenerated step 1d",
        "FileInventory_CL | mv-expand FilePath",
        "FileInventory_CL | where FileName hasprefix \"a\"",
        "let f = (x: long) { x + 1 }; FileInventory_CL",
        "range x from 1 to 3 step 1",
        "FileInventory_CL | top 3 by FileSizeBytes, FileName",
    ]));
}

#[test]
fn types_that_do_not_fit_are_named() {
    assert_snapshot!(errors(&[
        "FileInventory_CL | where FileSizeBytes == \"12\"",
        "FileInventory_CL | where TimeGenerated > \"2026-01-01\"",
        "FileInventory_CL | where FileName + \"a\" == \"b\"",
        "FileInventory_CL | where TimeGenerated > ago(7)",
        "FileInventory_CL | where FileName",
        "FileInventory_CL | summarize sum(FileName)",
        "FileInventory_CL | extend x = split(FilePath, \"/\") | summarize count() by x",
        "FileInventory_CL | extend x = iff(true, 1, \"a\")",
        "FileInventory_CL | where FileName < \"b\"",
        "FileInventory_CL | where FileName matches regex \"(\"",
    ]));
}

#[test]
fn words_in_the_wrong_place_are_explained() {
    assert_snapshot!(errors(&[
        "FileInventory_CL | extend x = count()",
        "FileInventory_CL | summarize FileName, count() by FileShare",
        "FileInventory_CL | extend x = prev(FileName)",
        "FileInventory_CL | where 1 < (FileInventory_CL | count)",
        "FileInventory_CL | render table | take 1",
        "FileInventory_CL | where x ==",
        "FileInventory_CL | where FileName == \"abc",
        "FileInventory_CL | where Created > datetime(2026-02-30)",
        "",
        "FileInventory_CL | take many",
    ]));
}
