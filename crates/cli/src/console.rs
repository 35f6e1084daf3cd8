//! The one printer, for people and for programs.
//!
//! P1  Results go to stdout, everything else to stderr. A program that reads stdout sees nothing but results.
//! P2  What a program reads is what the API answered: the order of its keys and the digits of its numbers are kept.
//! P3  Text of users cannot steer a terminal: control characters are shown as their escapes.

use std::{
    borrow::Cow,
    io::{IsTerminal as _, Write},
};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    args::{Format, Output, TimeStyle},
    fault::{Exit, Fault},
    time,
};

/// A longer text is cut in a table.
const CELL_MAX: usize = 160;
/// Terminals are at least this high and wide.
const LINES_MAX: usize = 20;
const WIDTH_MAX: usize = 80;

/// Whether a person watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    /// Stdout is a terminal.
    Terminal,
    /// It is a file or another program.
    Pipe,
}

/// Where results and remarks go, and in which form.
pub(crate) struct Console {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    output: Output,
    screen: Screen,
    clock: fn() -> Timestamp,
    redraw: Redraw,
}

/// What is to happen to what a terminal shows when the next result comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Redraw {
    /// It stays.
    No,
    /// All of it goes.
    All,
    /// So many lines above the cursor go.
    Lines(usize),
}

/// A column of a table, and the key of its values.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// What stands above it.
    pub(crate) title: Cow<'static, str>,
    /// The key in each item.
    pub(crate) key: Cow<'static, str>,
    /// What its values are.
    pub(crate) kind: Kind,
}

/// What a value is to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, or any JSON.
    Plain,
    /// A time.
    Time,
    /// A failure as the API shows it: what kind, what it says, what caused it.
    Failure,
}

/// A column of plain values.
pub(crate) const fn plain(title: &'static str, key: &'static str) -> Column {
    Column { title: Cow::Borrowed(title), key: Cow::Borrowed(key), kind: Kind::Plain }
}

/// A column of times.
pub(crate) const fn moment(title: &'static str, key: &'static str) -> Column {
    Column { title: Cow::Borrowed(title), key: Cow::Borrowed(key), kind: Kind::Time }
}

/// A column of failures.
pub(crate) const fn failing(title: &'static str, key: &'static str) -> Column {
    Column { title: Cow::Borrowed(title), key: Cow::Borrowed(key), kind: Kind::Failure }
}

impl Column {
    /// A column of plain values under the name that they have.
    pub(crate) fn named(name: String) -> Self {
        Self { title: Cow::Owned(name.clone()), key: Cow::Owned(name), kind: Kind::Plain }
    }
}

/// An object: as it was received, and its fields for reading.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    raw: String,
    fields: Map<String, Value>,
}

impl Item {
    /// An object of the API.
    pub(crate) fn parse(raw: &str) -> Result<Self, Fault> {
        let wrong = |error: serde_json::Error| {
            Fault::error(format!("the host answered something that is not a JSON object: {error}"))
        };
        let raw = raw.trim();
        let parts: std::collections::BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(raw).map_err(wrong)?;
        // A number of a user may be greater than any that is read here. It is shown as it stands.
        let read = |part: Box<RawValue>| {
            serde_json::from_str(part.get())
                .unwrap_or_else(|_| Value::String(part.get().to_owned()))
        };
        let fields = parts.into_iter().map(|(key, part)| (key, read(part))).collect();
        Ok(Self { raw: raw.to_owned(), fields })
    }

    /// A list of objects of the API.
    pub(crate) fn parse_list(raw: &str) -> Result<Vec<Self>, Fault> {
        let parts: Vec<Box<RawValue>> = serde_json::from_str(raw).map_err(|error| {
            Fault::error(format!("the host answered something that is not a JSON list: {error}"))
        })?;
        parts.iter().map(|part| Self::parse(part.get())).collect()
    }

    /// An object of ours, with its keys in this order.
    pub(crate) fn of<const N: usize>(pairs: [(&str, Value); N]) -> Self {
        Self::of_pairs(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The same for keys that are not known beforehand.
    pub(crate) fn of_pairs(pairs: Vec<(String, Value)>) -> Self {
        let written: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())))
            .collect();
        Self { raw: format!("{{{}}}", written.join(",")), fields: pairs.into_iter().collect() }
    }

    /// A field; `null` if there is none.
    pub(crate) fn get(&self, key: &str) -> &Value {
        self.fields.get(key).unwrap_or(&Value::Null)
    }

    /// A field's text; empty if it is no text.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).as_str().unwrap_or_default()
    }

    /// As it was received.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    /// The text of a field as it was received.
    pub(crate) fn raw_field(&self, key: &str) -> Option<String> {
        let parts: std::collections::BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&self.raw).ok()?;
        parts.get(key).map(|part| part.get().to_owned())
    }

    fn id(&self) -> Option<&str> {
        ["instanceId", "id", "name"].iter().find_map(|key| self.get(key).as_str())
    }
}

impl Console {
    /// The process's own.
    pub(crate) fn of_process(output: Output) -> Self {
        let screen = if std::io::stdout().is_terminal() { Screen::Terminal } else { Screen::Pipe };
        let (out, err) = (Box::new(std::io::stdout()), Box::new(std::io::stderr()));
        Self { out, err, output, screen, clock: Timestamp::now, redraw: Redraw::No }
    }

    /// One of a test.
    #[cfg(test)]
    pub(crate) fn of_parts(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        output: Output,
        screen: Screen,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self { out, err, output, screen, clock, redraw: Redraw::No }
    }

    /// The form of results.
    pub(crate) fn format(&self) -> Format {
        self.output.output.unwrap_or(match self.screen {
            Screen::Terminal => Format::Table,
            Screen::Pipe => Format::Jsonl,
        })
    }

    /// The form that was asked for, for verbs whose natural form is text.
    pub(crate) fn asked_format(&self) -> Option<Format> {
        self.output.output
    }

    /// Whether a person watches.
    pub(crate) fn screen(&self) -> Screen {
        self.screen
    }

    /// The present.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// A time as tables show it.
    pub(crate) fn time(&self, text: &str) -> String {
        match (self.output.time, text.parse::<Timestamp>()) {
            (TimeStyle::Relative, Ok(time)) => time::ago(time, self.now()),
            _ => text.to_owned(),
        }
    }

    /// Several results.
    pub(crate) fn list(&mut self, columns: &[Column], items: &[Item]) -> Result<(), Fault> {
        let text = match self.format() {
            Format::Table => self.table(columns, items),
            Format::Json => {
                let raws: Vec<&str> = items.iter().map(Item::raw).collect();
                indented(&format!("[{}]", raws.join(",")))
            }
            Format::Jsonl => lines(items.iter().map(|item| compact(item.raw()))),
            Format::Csv => csv(columns, items),
            Format::Ids => lines(items.iter().filter_map(Item::id).map(str::to_owned)),
        };
        self.data(&text)
    }

    /// One result.
    pub(crate) fn one(&mut self, columns: &[Column], item: &Item) -> Result<(), Fault> {
        let text = match self.format() {
            Format::Table => self.card(columns, item),
            Format::Json => indented(item.raw()),
            Format::Jsonl => compact(item.raw()),
            Format::Csv => csv(columns, std::slice::from_ref(item)),
            Format::Ids => item.id().unwrap_or_default().to_owned(),
        };
        self.data(&text)
    }

    /// Text that is a result.
    pub(crate) fn data(&mut self, text: &str) -> Result<(), Fault> {
        match std::mem::replace(&mut self.redraw, Redraw::No) {
            Redraw::No => {}
            Redraw::All => self.out.write_all(b"\x1b[H\x1b[2J")?,
            Redraw::Lines(lines) => write!(self.out, "\x1b[{lines}F\x1b[J")?,
        }
        if !text.is_empty() {
            self.out.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                self.out.write_all(b"\n")?;
            }
        }
        Ok(self.out.flush()?)
    }

    /// The next result takes the place of all that a terminal shows.
    pub(crate) fn redraw_all(&mut self) {
        if self.screen == Screen::Terminal {
            self.redraw = Redraw::All;
        }
    }

    /// The next result takes the place of this text, which was the last one.
    pub(crate) fn redraw(&mut self, text: &str) {
        // A line that the terminal breaks, or one above its edge, cannot be reached by counting lines.
        let lines = text.lines().count();
        let is_small =
            lines <= LINES_MAX && text.lines().all(|line| line.chars().count() <= WIDTH_MAX);
        self.redraw = match (self.screen, lines) {
            (Screen::Pipe, _) | (_, 0) => Redraw::No,
            (Screen::Terminal, _) if is_small => Redraw::Lines(lines),
            (Screen::Terminal, _) => Redraw::All,
        };
    }

    /// A remark, which is no result.
    pub(crate) fn note(&mut self, text: &str) {
        // Nobody is left to be told that stderr is closed.
        let _ = writeln!(self.err, "{text}");
    }

    /// What went wrong.
    pub(crate) fn fault(&mut self, fault: &Fault) {
        if fault.text.is_empty() {
            return;
        }
        let is_json = matches!(self.output.output, Some(Format::Json | Format::Jsonl));
        if is_json {
            let error = serde_json::json!({
                "error": {
                    "code": fault.exit.name(),
                    "exitCode": fault.exit as u8,
                    "message": fault.text,
                    "remedy": fault.remedy,
                }
            });
            self.note(&error.to_string());
        } else {
            self.note(&visible(&fault.to_string()));
        }
    }

    /// A bar on stderr, where a person sees it.
    pub(crate) fn bar(total: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}")
            .expect("the template is well formed");
        ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_style(style)
    }

    /// A sign of life on stderr, where a person sees it.
    pub(crate) fn spinner(message: &str) -> ProgressBar {
        let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        spinner.set_message(message.to_owned());
        spinner
    }

    /// Asks a person; the answer is yes or no. `None` if nobody is there.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<Option<bool>, Fault> {
        if self.screen == Screen::Pipe || !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        write!(self.err, "{question} [y/N] ")?;
        self.err.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
    }

    fn cell(&self, column: &Column, item: &Item) -> String {
        let value = item.get(&column.key);
        let text = match (column.kind, value.as_str()) {
            (Kind::Time, Some(time)) => self.time(time),
            (Kind::Failure, _) => failure_text(value),
            (Kind::Time | Kind::Plain, _) => text_of(value),
        };
        cut(&visible(&text))
    }

    fn table(&self, columns: &[Column], items: &[Item]) -> String {
        let mut table = self.empty_table();
        table.set_header(columns.iter().map(|column| column.title.as_ref()));
        for item in items {
            table.add_row(columns.iter().map(|column| self.cell(column, item)));
        }
        trimmed(&table)
    }

    /// One item, a line for each field that it has.
    fn card(&self, columns: &[Column], item: &Item) -> String {
        let mut table = self.empty_table();
        for column in columns.iter().filter(|column| !is_blank(item.get(&column.key))) {
            table.add_row([column.title.to_string(), self.cell(column, item)]);
        }
        trimmed(&table)
    }

    fn empty_table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if self.screen == Screen::Pipe {
            table.force_no_tty();
        }
        table
    }
}

impl Fault {
    /// A question that had to be asked and could not be.
    pub(crate) fn unasked(what: &str) -> Self {
        Self::new(Exit::Usage, format!("{what}, and nobody is there to ask"))
            .remedy("add --yes, or look first with --dry-run")
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}

fn trimmed(table: &Table) -> String {
    let lines =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn lines(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join("\n")
}

/// A value for a reader: text without quotes, all else as JSON.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A failure in words, with its causes behind it.
pub(crate) fn failure_text(failure: &Value) -> String {
    let part = |name: &str| failure[name].as_str().unwrap_or_default();
    let own = match (part("ErrorType"), part("ErrorMessage")) {
        ("", message) => message.to_owned(),
        (kind, "") => kind.to_owned(),
        (kind, message) => format!("{kind}: {message}"),
    };
    match &failure["InnerFailure"] {
        Value::Object(_) => {
            format!("{own}; caused by {}", failure_text(&failure["InnerFailure"]))
        }
        _ => own,
    }
}

/// Text without characters that a terminal would act on.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push('\n'),
            character if character.is_control() => shown.extend(character.escape_default()),
            character => shown.push(character),
        }
    }
    shown
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

fn csv(columns: &[Column], items: &[Item]) -> String {
    let quoted = |text: String| {
        let is_plain = !text.contains([',', '"', '\n', '\r']);
        if is_plain { text } else { format!("\"{}\"", text.replace('"', "\"\"")) }
    };
    let header = columns.iter().map(|column| quoted(column.key.to_string()));
    let row = |item: &Item| {
        let cells = columns.iter().map(|column| quoted(text_of(item.get(&column.key))));
        cells.collect::<Vec<_>>().join(",")
    };
    let header = header.collect::<Vec<_>>().join(",");
    lines(std::iter::once(header).chain(items.iter().map(row)))
}

/// JSON text without blanks between its parts.
pub(crate) fn compact(json: &str) -> String {
    reshaped(json, |_, _, _| ())
}

/// JSON text with a line for each part; strings and numbers stay as they are.
pub(crate) fn indented(json: &str) -> String {
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    reshaped(json, move |text, place, depth| match place {
        Place::Opened | Place::Separated | Place::Closing => line(text, depth),
        Place::Named => text.push(' '),
    })
}

/// Where in JSON text a blank may stand.
#[derive(Clone, Copy)]
enum Place {
    Opened,
    Closing,
    Separated,
    Named,
}

fn reshaped(json: &str, blank: impl Fn(&mut String, Place, usize)) -> String {
    let (mut text, mut depth) = (String::with_capacity(json.len()), 0_usize);
    let (mut inside, mut escaped) = (false, false);
    let mut characters = json
        .chars()
        .filter({
            // Blanks between parts go; those in strings stay.
            let (mut inside, mut escaped) = (false, false);
            move |character| {
                let keep = inside || !character.is_ascii_whitespace();
                if inside {
                    inside = escaped || *character != '"';
                    escaped = !escaped && *character == '\\';
                } else {
                    inside = *character == '"';
                }
                keep
            }
        })
        .peekable();
    while let Some(character) = characters.next() {
        if inside {
            inside = escaped || character != '"';
            escaped = !escaped && character == '\\';
            text.push(character);
            continue;
        }
        match character {
            '{' | '[' => {
                text.push(character);
                let is_empty = matches!(characters.peek(), Some('}' | ']'));
                if is_empty {
                    text.extend(characters.next());
                } else {
                    depth += 1;
                    blank(&mut text, Place::Opened, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                blank(&mut text, Place::Closing, depth);
                text.push(character);
            }
            ',' => {
                text.push(character);
                blank(&mut text, Place::Separated, depth);
            }
            ':' => {
                text.push(character);
                blank(&mut text, Place::Named, depth);
            }
            character => {
                inside = character == '"';
                text.push(character);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Screenful;

    const COLUMNS: &[Column] = &[
        plain("ID", "instanceId"),
        plain("STATUS", "runtimeStatus"),
        moment("CREATED", "createdTime"),
        plain("OUTPUT", "output"),
    ];

    fn items() -> Vec<Item> {
        Item::parse_list(
            r#"[{"instanceId":"order-7","runtimeStatus":"Completed","createdTime":"2026-01-02T02:57:00Z","output":{"b":1.10,"a":[]}},
                {"instanceId":"a,b","runtimeStatus":"Failed","createdTime":"2026-01-01T03:00:00Z","output":"say \"no\"\u001b[2J"}]"#,
        )
        .unwrap()
    }

    fn listed(format: Option<Format>, time: TimeStyle, screen: Screen) -> String {
        let mut full = Screenful::new(Output { output: format, time }, screen);
        full.console.list(COLUMNS, &items()).unwrap();
        full.out()
    }

    #[test]
    fn a_terminal_gets_a_table_with_times_told_from_the_present() {
        insta::assert_snapshot!(listed(None, TimeStyle::Relative, Screen::Terminal), @r#"
        ID       STATUS     CREATED  OUTPUT
        order-7  Completed  3m ago   {"a":[],"b":1.1}
        a,b      Failed     1d ago   say "no"\u{1b}[2J
        "#);
    }

    #[test]
    fn a_pipe_gets_a_line_of_json_for_each_with_all_as_it_was_received() {
        insta::assert_snapshot!(listed(None, TimeStyle::Relative, Screen::Pipe), @r#"
        {"instanceId":"order-7","runtimeStatus":"Completed","createdTime":"2026-01-02T02:57:00Z","output":{"b":1.10,"a":[]}}
        {"instanceId":"a,b","runtimeStatus":"Failed","createdTime":"2026-01-01T03:00:00Z","output":"say \"no\"\u001b[2J"}
        "#);
    }

    #[test]
    fn json_is_one_document() {
        insta::assert_snapshot!(listed(Some(Format::Json), TimeStyle::Iso, Screen::Terminal), @r#"
        [
          {
            "instanceId": "order-7",
            "runtimeStatus": "Completed",
            "createdTime": "2026-01-02T02:57:00Z",
            "output": {
              "b": 1.10,
              "a": []
            }
          },
          {
            "instanceId": "a,b",
            "runtimeStatus": "Failed",
            "createdTime": "2026-01-01T03:00:00Z",
            "output": "say \"no\"\u001b[2J"
          }
        ]
        "#);
    }

    #[test]
    fn csv_quotes_what_needs_it_and_ids_are_only_ids() {
        let csv = listed(Some(Format::Csv), TimeStyle::Relative, Screen::Pipe);
        assert_eq!(
            csv,
            "instanceId,runtimeStatus,createdTime,output\n\
             order-7,Completed,2026-01-02T02:57:00Z,\"{\"\"a\"\":[],\"\"b\"\":1.1}\"\n\
             \"a,b\",Failed,2026-01-01T03:00:00Z,\"say \"\"no\"\"\u{1b}[2J\"\n"
        );
        assert_eq!(listed(Some(Format::Ids), TimeStyle::Relative, Screen::Pipe), "order-7\na,b\n");
    }

    #[test]
    fn times_are_iso_where_asked_for() {
        let table = listed(Some(Format::Table), TimeStyle::Iso, Screen::Pipe);
        assert!(table.contains("2026-01-02T02:57:00Z"), "{table}");
    }

    #[test]
    fn one_item_is_a_card_of_the_fields_that_it_has() {
        let mut full = Screenful::new(Output::default(), Screen::Terminal);
        let item =
            Item::parse(r#"{"instanceId":"x","runtimeStatus":"Running","output":null}"#).unwrap();
        full.console.one(COLUMNS, &item).unwrap();
        insta::assert_snapshot!(full.out(), @r"
        ID      x
        STATUS  Running
        ");
    }

    #[test]
    fn an_error_is_json_where_results_are() {
        let fault = Fault::new(Exit::NotFound, "there is no instance `x`").remedy("look");
        let mut full = Screenful::new(
            Output { output: Some(Format::Json), ..Output::default() },
            Screen::Pipe,
        );
        full.console.fault(&fault);
        assert_eq!(
            full.err(),
            "{\"error\":{\"code\":\"notFound\",\"exitCode\":3,\"message\":\"there is no instance `x`\",\"remedy\":\"look\"}}\n"
        );
        let mut full = Screenful::new(Output::default(), Screen::Pipe);
        full.console.fault(&fault);
        assert_eq!(full.err(), "error: there is no instance `x`\n  look\n");
        assert_eq!(full.out(), "");
    }

    #[test]
    fn a_number_that_is_too_great_is_shown_as_it_stands() {
        let item = Item::parse(r#"{"output":1e400}"#).unwrap();
        assert_eq!(item.text("output"), "1e400");
    }
}
