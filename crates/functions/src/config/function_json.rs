//! `function.json`: one function in a folder of its own.
//!
//! L1  A folder without the file is no function. A folder with a bad one is reported, and the others load.
//! L2  What a binding means is not looked at here: that is [`binding::bind`], for functions of every origin.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    Error, Errors, Notice, NoticeKind, Settings, binding, json, read,
    section::{Report, Section},
};
use crate::program::{Binding, Direction, Function};

/// The file's name.
pub const FILE: &str = "function.json";

/// The functions of a folder.
#[derive(Debug, Default, PartialEq)]
pub struct Loaded {
    /// Those that could be read, by name.
    pub functions: Vec<Function>,
    /// The others, with what is wrong.
    pub failed: Vec<(String, Errors)>,
    /// Remarks.
    pub notices: Vec<Notice>,
}

/// Reads all functions below the folder of an app.
pub fn load(root: &Path, settings: &Settings) -> Result<Loaded, Error> {
    let mut loaded = Loaded::default();
    for name in folders(root)? {
        let folder = root.join(&name);
        match load_one(&name, &folder, settings) {
            Ok(None) => {}
            Ok(Some((function, notices))) => {
                loaded.notices.extend(notices);
                match loaded.functions.iter().find(|other| other.name.eq_ignore_ascii_case(&name)) {
                    Some(other) => {
                        loaded.failed.push((name.clone(), clash(&name, &other.name).into()));
                    }
                    None => loaded.functions.push(function),
                }
            }
            Err(errors) => loaded.failed.push((name, errors)),
        }
    }
    Ok(loaded)
}

fn load_one(
    name: &str,
    folder: &Path,
    settings: &Settings,
) -> Result<Option<(Function, Vec<Notice>)>, Errors> {
    let Some(text) = read(&folder.join(FILE))? else { return Ok(None) };
    let files = names(folder, Kind::File)?;
    let (mut function, notices) = parse(name, &text, &files, settings)?;
    function.source = function.source.map(|file| folder.join(file));
    Ok(Some((function, notices)))
}

fn clash(name: &str, other: &str) -> Error {
    Error::Rule {
        place: format!("{name}/{FILE}"),
        problem: format!(
            "the function `{other}` has the same name but for its case; rename one of the folders"
        ),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    File,
    Folder,
}

fn folders(root: &Path) -> Result<Vec<String>, Error> {
    let mut folders = names(root, Kind::Folder)?;
    folders.retain(|name| !name.starts_with('.'));
    Ok(folders)
}

fn names(folder: &Path, kind: Kind) -> Result<Vec<String>, Error> {
    let failed = |error: std::io::Error| Error::Read {
        file: folder.display().to_string(),
        problem: error.to_string(),
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Links count as what they lead to; one that leads nowhere is neither.
        let found = if entry.path().is_dir() { Kind::Folder } else { Kind::File };
        if let (true, Ok(name)) = (found == kind, entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Reads the text of the function that is named so; `files` stand beside it in its folder.
pub fn parse(
    name: &str,
    text: &str,
    files: &[String],
    settings: &Settings,
) -> Result<(Function, Vec<Notice>), Errors> {
    let place = format!("{name}/{FILE}");
    let report = Report::default();
    let mut root = match json::parse(&place, text).map_err(Error::Syntax)? {
        Value::Object(entries) => Section::root(&place, entries, &report),
        _ => {
            let problem = "the file is no object; write {\"bindings\": []}".to_owned();
            return Err(Error::Rule { place, problem }.into());
        }
    };
    if let Err(problem) = binding::check_name(name) {
        report.error(Error::Rule { place: place.clone(), problem });
    }
    let bindings = bindings(&mut root);
    let is_disabled = disabled(&mut root, settings);
    root.choice("configurationSource", &[("config", ()), ("attributes", ())]);
    let retry = retry(&mut root, &bindings, &report, &place);
    let source = source(&mut root, files);
    for key in ["entryPoint", "generatedBy", "$schema", "excluded", "language", "functionDirectory"]
    {
        root.take(key);
    }
    root.finish();
    let function =
        Function { name: name.to_owned(), bindings, disabled: is_disabled, source, retry };
    report.close(function)
}

fn bindings(root: &mut Section<'_>) -> Vec<Binding> {
    let sections = root.sections("bindings");
    if sections.is_empty() {
        root.missing("bindings", "write a list with at least one binding, the trigger");
    }
    sections.into_iter().filter_map(one_binding).collect()
}

fn one_binding(mut section: Section<'_>) -> Option<Binding> {
    let mut required = |key: &str, remedy: &str| {
        let text = section.text(key).filter(|text| !text.is_empty());
        if text.is_none() {
            section.missing(key, remedy);
        }
        text
    };
    let kind = required("type", "write one such as \"httpTrigger\"");
    let name = required("name", "write the name of the function's parameter, or \"$return\"");
    let words = [("in", Direction::In), ("out", Direction::Out), ("inout", Direction::InOut)];
    // A direction that is not said is `in`, as in the original.
    let direction = section.choice("direction", &words).unwrap_or(Direction::In);
    let mut properties = Map::new();
    for key in section.keys() {
        if let Some(value) = section.take(&key) {
            properties.insert(key, value);
        }
    }
    Some(Binding { kind: kind?, direction, name: name?, properties })
}

/// A flag, or the name of a setting that says it.
fn disabled(root: &mut Section<'_>, settings: &Settings) -> bool {
    match root.take("disabled") {
        None => false,
        Some(Value::Bool(disabled)) => disabled,
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => true,
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => false,
        Some(Value::String(setting)) => settings.is_on(setting.trim_matches('%')),
        Some(other) => root
            .refuse("disabled", &other, "write true, false or the name of a setting")
            .unwrap_or(false),
    }
}

fn retry(
    root: &mut Section<'_>,
    bindings: &[Binding],
    report: &Report,
    place: &str,
) -> Option<Value> {
    let value = root.take("retry")?;
    if let Err(errors) = super::Retry::read(place, &value) {
        errors.0.into_iter().for_each(|error| report.error(error));
    }
    let durable = ["orchestrationTrigger", "activityTrigger", "entityTrigger"];
    let is_durable =
        |binding: &&Binding| durable.iter().any(|kind| kind.eq_ignore_ascii_case(&binding.kind));
    let Some(trigger) = bindings.iter().find(is_durable) else { return Some(value) };
    root.remark(
        NoticeKind::NotApplied,
        "retry",
        &format!(
            "has no effect on `{}`; write retry options where the orchestrator calls",
            trigger.kind
        ),
    );
    None
}

/// The file with the code: the one that is named, else by the rules of the original.
fn source(root: &mut Section<'_>, files: &[String]) -> Option<PathBuf> {
    if let Some(script) = root.text("scriptFile").filter(|script| !script.is_empty()) {
        return Some(PathBuf::from(script));
    }
    let is_named = |file: &&String, name: &str| file.eq_ignore_ascii_case(name);
    let others: Vec<_> = files.iter().filter(|file| !is_named(file, FILE)).collect();
    let found = match others[..] {
        [only] => Some(only),
        _ => {
            let run = others.iter().find(|file| file.to_ascii_lowercase().starts_with("run."));
            let names = ["index.js", "index.mjs", "index.cjs", "__init__.py"];
            let index =
                || names.iter().find_map(|name| others.iter().find(|file| is_named(file, name)));
            run.or_else(index).copied()
        }
    };
    found.map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        Settings::from_pairs([
            ("OFF".to_owned(), "1".to_owned()),
            ("AzureWebJobs.Gone.Disabled".to_owned(), "true".to_owned()),
        ])
    }

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn function(text: &str) -> Function {
        parse("Save", text, &files(&[FILE]), &settings()).unwrap().0
    }

    fn error(text: &str) -> String {
        parse("Save", text, &[], &settings()).unwrap_err().to_string()
    }

    const TIMER: &str = r#"{"type": "timerTrigger", "name": "t", "schedule": "0 * * * * *"}"#;

    #[test]
    fn a_function_is_read() {
        let function = function(
            r#"{
                // what starts it
                "bindings": [
                    { "type": "httpTrigger", "direction": "IN", "name": "req", "authLevel": "anonymous" },
                    { "type": "http", "direction": "out", "name": "$return" },
                ],
                "scriptFile": "../main.py", "entryPoint": "save"
            }"#,
        );
        assert_eq!(
            function,
            Function {
                name: "Save".to_owned(),
                bindings: vec![
                    Binding {
                        kind: "httpTrigger".to_owned(),
                        direction: Direction::In,
                        name: "req".to_owned(),
                        properties: Map::from_iter([("authLevel".to_owned(), json!("anonymous"))]),
                    },
                    Binding {
                        kind: "http".to_owned(),
                        direction: Direction::Out,
                        name: "$return".to_owned(),
                        properties: Map::new(),
                    },
                ],
                disabled: false,
                source: Some(PathBuf::from("../main.py")),
                retry: None,
            }
        );
    }

    #[test]
    fn a_function_is_disabled_by_flag_or_setting() {
        let disabled = |value: &str| {
            function(&format!("{{\"bindings\": [{TIMER}], \"disabled\": {value}}}")).disabled
        };
        assert!(disabled("true") && disabled("\"OFF\"") && disabled("\"%off%\""));
        assert!(!disabled("false") && !disabled("\"NOPE\""));
    }

    #[test]
    fn the_file_with_the_code_is_found() {
        let text = format!("{{\"bindings\": [{TIMER}]}}");
        let source =
            |names: &[&str]| parse("F", &text, &files(names), &settings()).unwrap().0.source;
        assert_eq!(source(&["function.json", "save.py"]), Some("save.py".into()));
        assert_eq!(source(&["function.json", "a.txt", "run.csx"]), Some("run.csx".into()));
        assert_eq!(source(&["function.json", "a.txt", "index.mjs"]), Some("index.mjs".into()));
        assert_eq!(source(&["__init__.py", "a.txt", "function.json"]), Some("__init__.py".into()));
        assert_eq!(source(&["function.json"]), None);
    }

    #[test]
    fn errors_name_the_key_and_what_to_write() {
        assert_eq!(
            error("{}"),
            "Save/function.json: `bindings` is missing; write a list with at least one binding, the trigger"
        );
        assert_eq!(
            error("1"),
            "Save/function.json: the file is no object; write {\"bindings\": []}"
        );
        assert_eq!(
            error("{"),
            "Save/function.json:1:2: the text ends within an object; write the missing `}`"
        );
        assert_eq!(
            error(
                r#"{"bindings": [{"direction": "up"}], "disabled": 3, "configurationSource": "magic", "retry": {"strategy": "fixedDelay", "maxRetryCount": "x"}}"#
            ),
            "Save/function.json: `bindings[0].type` is missing; write one such as \"httpTrigger\"\n\
             Save/function.json: `bindings[0].name` is missing; write the name of the function's parameter, or \"$return\"\n\
             Save/function.json: `bindings[0].direction` is \"up\"; write \"in\", \"out\" or \"inout\"\n\
             Save/function.json: `disabled` is 3; write true, false or the name of a setting\n\
             Save/function.json: `configurationSource` is \"magic\"; write \"config\" or \"attributes\"\n\
             Save/function.json: `retry.maxRetryCount` is \"x\"; write a whole number of -1 or more\n\
             Save/function.json: `retry.delayInterval` is missing; write a span of time such as \"00:00:10\""
        );
        let bad_name = parse("1st", &format!("{{\"bindings\": [{TIMER}]}}"), &[], &settings());
        assert_eq!(
            bad_name.unwrap_err().to_string(),
            "1st/function.json: the name is invalid; write a letter, then letters, digits, `_` and `-`, 128 at most"
        );
    }

    #[test]
    fn a_retry_policy_is_kept_but_for_durable_functions() {
        let retry =
            r#"{"strategy": "fixedDelay", "maxRetryCount": 1, "delayInterval": "00:00:01"}"#;
        let text = |kind: &str| {
            format!(
                "{{\"bindings\": [{{\"type\": \"{kind}\", \"name\": \"x\"}}], \"retry\": {retry}}}"
            )
        };
        assert!(function(&text("timerTrigger")).retry.is_some());
        let (function, notices) =
            parse("Save", &text("ActivityTrigger"), &[], &settings()).unwrap();
        assert_eq!(function.retry, None);
        assert_eq!(
            notices[0].text,
            "Save/function.json: `retry` has no effect on `ActivityTrigger`; write retry options where the orchestrator calls"
        );
    }

    #[test]
    fn a_bad_function_does_not_keep_others_from_loading() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, file: &str, text: &str| {
            fs::create_dir_all(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join(file), text).unwrap();
        };
        write("Good", FILE, &format!("{{\"bindings\": [{TIMER}]}}"));
        write("Good", "run.py", "");
        write("Bad", FILE, "{");
        write("lib", "helper.py", "");
        write(".git", FILE, "{");
        write("good", FILE, &format!("{{\"bindings\": [{TIMER}]}}"));
        let loaded = load(root.path(), &settings()).unwrap();
        let names: Vec<_> =
            loaded.functions.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["Good"]);
        assert_eq!(loaded.functions[0].source, Some(root.path().join("Good").join("run.py")));
        let failed: Vec<_> =
            loaded.failed.iter().map(|(name, errors)| format!("{name}: {errors}")).collect();
        assert_eq!(
            failed,
            [
                "Bad: Bad/function.json:1:2: the text ends within an object; write the missing `}`",
                "good: good/function.json: the function `Good` has the same name but for its case; rename one of the folders",
            ]
        );
        assert!(load(&root.path().join("nowhere"), &settings()).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[{}\\[\\]\":,a-z0-9 ]{0,40}") {
            let _ = parse("F", &text, &[], &settings());
            let _ = parse("F", &format!("{{\"bindings\": {text}}}"), &[], &settings());
            if let Ok((function, _)) = parse("F", &format!("{{\"bindings\": [{{\"type\": \"httpTrigger\", \"name\": \"a\", \"route\": {text}}}]}}"), &[], &settings()) {
                let _ = binding::bind(&function, &settings());
            }
        }
    }
}
