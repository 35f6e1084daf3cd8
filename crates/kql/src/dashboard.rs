//! The inventory at a glance: one page that needs nothing else, for the latest scan in the table.

use std::fmt::Write as _;

use rusqlite::{Connection, Row, params};

use crate::{
    chart::{self, Chart, Series, Unit, escaped, written},
    duplicates::{Duplicates, duplicates, latest_execution},
};

const AGES: [&str; 8] = [
    "0-7 days",
    "8-30 days",
    "31-90 days",
    "91-180 days",
    "181-365 days",
    "1-2 years",
    "2-5 years",
    "5+ years",
];
const SIZES: [&str; 9] = [
    "< 1 KB",
    "1 KB - 1 MB",
    "1 MB - 10 MB",
    "10 MB - 100 MB",
    "100 MB - 500 MB",
    "500 MB - 1 GB",
    "1 GB - 5 GB",
    "5 GB - 10 GB",
    "10+ GB",
];

const STYLE: &str = "\
:root{--ink:#1b2733;--soft:#52606d;--edge:#dfe5ea;--paper:#fff;--ground:#f4f6f8}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9fb0c0;--edge:#2f3b47;--paper:#10161c;--ground:#0a0e12}}\
*{box-sizing:border-box}body{margin:0;padding:24px;background:var(--ground);color:var(--ink);\
font:15px/1.45 system-ui,-apple-system,'Segoe UI',sans-serif}main{max-width:1260px;margin:0 auto}\
h1{font-size:22px;margin:0 0 2px}h2{font-size:15px;margin:0 0 8px}p{margin:0 0 16px;color:var(--soft)}\
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:16px;margin-bottom:16px}\
.card{background:var(--paper);border:1px solid var(--edge);border-radius:8px;padding:14px;overflow-x:auto}\
.card svg{display:block;width:100%}.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:16px;margin-bottom:16px}\
.figures b{display:block;font-size:24px}.figures span{color:var(--soft)}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--edge)}\
th{color:var(--soft);font-weight:600}td.n,th.n{text-align:right;white-space:nowrap}td.path{word-break:break-all}";

/// A page about the latest scan in the table. What goes wrong stands in the page.
pub fn dashboard(connection: &Connection) -> String {
    let body = match content(connection) {
        Ok(body) => body,
        Err(error) => format!(
            "<h1>File inventory</h1><div class=\"card\">The inventory cannot be read: {}</div>",
            escaped(&error.to_string())
        ),
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>File inventory</title><style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>"
    )
}

fn content(connection: &Connection) -> rusqlite::Result<String> {
    let Some(execution) = latest_execution(connection)? else {
        return Ok(
            "<h1>File inventory</h1><div class=\"card\">No file has been scanned yet.</div>"
                .to_owned(),
        );
    };
    let totals = totals(connection, &execution)?;
    let copies = duplicates(connection, Some(&execution), 10)?;
    let charts = [
        chart::pie(&category_chart(connection, &execution)?),
        chart::bar(&bucket_chart(connection, &execution, "AgeBucket", &AGES, "Space by age")?),
        // As bars, whose names have room beside them.
        chart::bar(&bucket_chart(connection, &execution, "SizeBucket", &SIZES, "Files by size")?),
        chart::line(&month_chart(connection, &execution)?),
    ];
    let mut page = format!(
        "<h1>File inventory</h1><p>Storage account {}, scan {}, {}</p>",
        escaped(&totals.account),
        escaped(&execution),
        escaped(&totals.moment)
    );
    figures(&mut page, &totals, &copies);
    page.push_str("<div class=\"grid\">");
    for chart in &charts {
        put(&mut page, format_args!("<div class=\"card\">{chart}</div>"));
    }
    page.push_str("</div>");
    shares(&mut page, connection, &execution)?;
    largest(&mut page, connection, &execution)?;
    copied(&mut page, &copies);
    Ok(page)
}

struct Totals {
    account: String,
    moment: String,
    files: f64,
    bytes: f64,
    shares: f64,
    cold_bytes: f64,
}

fn totals(connection: &Connection, execution: &str) -> rusqlite::Result<Totals> {
    let sql = "SELECT min(StorageAccount), max(ScanTimestamp), count(*), total(FileSizeBytes), \
               count(DISTINCT FileShare), total(CASE WHEN AgeInDays > 365 THEN FileSizeBytes END) \
               FROM FileInventory_CL WHERE ExecutionId = ?1";
    connection.query_row(sql, [execution], |row| {
        Ok(Totals {
            account: row.get(0)?,
            moment: row.get(1)?,
            files: row.get(2)?,
            bytes: row.get(3)?,
            shares: row.get(4)?,
            cold_bytes: row.get(5)?,
        })
    })
}

fn figures(page: &mut String, totals: &Totals, copies: &Duplicates) {
    let wasted = copies.wasted_bytes.to_string().parse().unwrap_or(0.0);
    let figures = [
        (written(totals.files, Unit::Number), "files"),
        (written(totals.bytes, Unit::Bytes), "in all"),
        (written(totals.shares, Unit::Number), "shares"),
        (written(totals.cold_bytes, Unit::Bytes), "unchanged for a year"),
        (written(wasted, Unit::Bytes), "taken by duplicates"),
    ];
    page.push_str("<div class=\"figures\">");
    for (figure, name) in figures {
        put(page, format_args!("<div class=\"card\"><b>{figure}</b><span>{name}</span></div>"));
    }
    page.push_str("</div>");
}

/// A name with two numbers.
type Measured = (String, f64, f64);

fn measured(
    connection: &Connection,
    sql: &str,
    execution: &str,
) -> rusqlite::Result<Vec<Measured>> {
    let mut statement = connection.prepare(sql)?;
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    statement.query_map([execution], row)?.collect()
}

fn category_chart(connection: &Connection, execution: &str) -> rusqlite::Result<Chart> {
    let sql = "SELECT FileCategory, total(FileSizeBytes), count(*) FROM FileInventory_CL \
               WHERE ExecutionId = ?1 GROUP BY 1 ORDER BY 2 DESC";
    let rows = measured(connection, sql, execution)?;
    Ok(Chart {
        title: "Space by category".to_owned(),
        labels: rows.iter().map(|(name, ..)| name.clone()).collect(),
        series: vec![Series {
            name: "Bytes".to_owned(),
            values: rows.iter().map(|row| Some(row.1)).collect(),
        }],
        unit: Unit::Bytes,
    })
}

fn bucket_chart(
    connection: &Connection,
    execution: &str,
    column: &str,
    buckets: &[&str],
    title: &str,
) -> rusqlite::Result<Chart> {
    let sql = format!(
        "SELECT {column}, total(FileSizeBytes), count(*) FROM FileInventory_CL WHERE ExecutionId = ?1 GROUP BY 1"
    );
    let rows = measured(connection, &sql, execution)?;
    let is_space = title.starts_with("Space");
    let values = buckets.iter().map(|bucket| {
        let found = rows.iter().find(|(name, ..)| name == bucket);
        found.map(|(_, bytes, files)| if is_space { *bytes } else { *files }).or(Some(0.0))
    });
    Ok(Chart {
        title: title.to_owned(),
        labels: buckets.iter().map(|bucket| (*bucket).to_owned()).collect(),
        series: vec![Series { name: String::new(), values: values.collect() }],
        unit: if is_space { Unit::Bytes } else { Unit::Number },
    })
}

fn month_chart(connection: &Connection, execution: &str) -> rusqlite::Result<Chart> {
    let sql = "SELECT substr(LastModified, 1, 7) || '-01', total(FileSizeBytes), count(*) FROM FileInventory_CL \
               WHERE ExecutionId = ?1 AND LastModified IS NOT NULL GROUP BY 1 ORDER BY 1 DESC LIMIT 60";
    let mut rows = measured(connection, sql, execution)?;
    rows.reverse();
    Ok(Chart {
        title: "Files by the month of their last change".to_owned(),
        labels: rows.iter().map(|(month, ..)| month.clone()).collect(),
        series: vec![Series {
            name: "Files".to_owned(),
            values: rows.iter().map(|row| Some(row.2)).collect(),
        }],
        unit: Unit::Number,
    })
}

fn shares(page: &mut String, connection: &Connection, execution: &str) -> rusqlite::Result<()> {
    let sql = "SELECT FileShare, total(FileSizeBytes), count(*) FROM FileInventory_CL \
               WHERE ExecutionId = ?1 GROUP BY 1 ORDER BY 2 DESC, 1";
    page.push_str(
        "<div class=\"card\" style=\"margin-bottom:16px\"><h2>Shares</h2><table><tr><th>Share</th>\
         <th class=\"n\">Files</th><th class=\"n\">Space</th></tr>",
    );
    for (share, bytes, files) in measured(connection, sql, execution)? {
        put(
            page,
            format_args!(
                "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escaped(&share),
                written(files, Unit::Number),
                written(bytes, Unit::Bytes)
            ),
        );
    }
    page.push_str("</table></div>");
    Ok(())
}

fn largest(page: &mut String, connection: &Connection, execution: &str) -> rusqlite::Result<()> {
    let sql = "SELECT FileShare || '/' || FilePath, FileSizeBytes, AgeInDays FROM FileInventory_CL \
               WHERE ExecutionId = ?1 ORDER BY FileSizeBytes DESC, 1 LIMIT ?2";
    let mut statement = connection.prepare(sql)?;
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let files = statement.query_map(params![execution, 20], row)?;
    page.push_str(
        "<div class=\"card\" style=\"margin-bottom:16px\"><h2>Largest files</h2><table><tr><th>File</th>\
         <th class=\"n\">Size</th><th class=\"n\">Age in days</th></tr>",
    );
    for file in files {
        let (path, bytes, age): Measured = file?;
        put(
            page,
            format_args!(
                "<tr><td class=\"path\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escaped(&path),
                written(bytes, Unit::Bytes),
                written(age, Unit::Number)
            ),
        );
    }
    page.push_str("</table></div>");
    Ok(())
}

fn copied(page: &mut String, copies: &Duplicates) {
    if copies.largest.is_empty() {
        return;
    }
    page.push_str(
        "<div class=\"card\"><h2>Duplicates that take most</h2><table><tr><th>One of the files</th>\
         <th class=\"n\">Copies</th><th class=\"n\">Taken in vain</th></tr>",
    );
    for group in &copies.largest {
        let wasted = group.wasted_bytes.to_string().parse().unwrap_or(0.0);
        put(
            page,
            format_args!(
                "<tr><td class=\"path\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escaped(group.paths.first().map_or("", String::as_str)),
                group.files,
                written(wasted, Unit::Bytes)
            ),
        );
    }
    page.push_str("</table></div>");
}

fn put(page: &mut String, part: std::fmt::Arguments<'_>) {
    page.write_fmt(part).expect("a text takes everything");
}
