//! App settings: the environment, and `local.settings.json` below it.
//!
//! G1  Names are compared without case, and `__` is the same as `:`.
//! G2  What the environment says wins over the file.
//! G3  Values may be secret: no debug text, error or notice holds one. Errors name the key and the kind of value.
//! G4  The process environment arrives as a map.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use serde_json::{Map, Value};

use super::{
    Error, Errors, Notice, NoticeKind, expression, json,
    section::{Report, Section},
};

/// The file's name.
pub const FILE: &str = "local.settings.json";

const ENVIRONMENT: &str = "AZURE_FUNCTIONS_ENVIRONMENT";

/// What `local.settings.json` says.
#[derive(Clone, Default)]
pub struct LocalSettings {
    values: Vec<(String, String)>,
    /// How to serve, where the command line does not say.
    pub host: LocalHost,
    /// Remarks about the file.
    pub notices: Vec<Notice>,
}

/// The section `Host`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalHost {
    /// `LocalHttpPort`.
    pub port: Option<u16>,
    /// `LocalHttpAddress`.
    pub address: Option<IpAddr>,
    /// `CORS`: origins, or `*`.
    pub cors: Vec<String>,
    /// `CORSCredentials`.
    pub cors_credentials: bool,
}

impl LocalSettings {
    /// Reads the text of the file, which is named `file` in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, Errors> {
        let report = Report::default();
        let mut root = match json::parse(file, text).map_err(Error::Syntax)? {
            Value::Object(entries) => Section::root(file, entries, &report),
            _ => {
                let problem =
                    "the file is no object; write {\"IsEncrypted\": false, \"Values\": {}}";
                return Err(
                    Error::Rule { place: file.to_owned(), problem: problem.to_owned() }.into()
                );
            }
        };
        let is_encrypted = root.flag("IsEncrypted");
        let mut values = values(root.section("Values"), &report, file);
        values.extend(connection_strings(root.section("ConnectionStrings"), &report, file));
        if is_encrypted.unwrap_or(true) && !values.is_empty() {
            refuse_encrypted(&root, is_encrypted);
        }
        let host = root.section("Host").map(LocalHost::read).unwrap_or_default();
        root.finish();
        let (settings, notices) = report.close(Self { values, host, notices: Vec::new() })?;
        Ok(Self { notices, ..settings })
    }

    /// What to say when there is no such file.
    pub fn not_found(path: &Path) -> Notice {
        let text = format!("local.settings.json file not found. Path searched: {}", path.display());
        Notice { kind: NoticeKind::Warning, text }
    }
}

impl fmt::Debug for LocalSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.values.iter().map(|(name, _)| name).collect();
        f.debug_struct("LocalSettings")
            .field("names", &names)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

fn refuse_encrypted(root: &Section<'_>, said: Option<bool>) {
    let remedy = "only the machine that encrypted the values can read them; write them in plain text with \
                  \"IsEncrypted\": false, or run `func settings decrypt` there";
    match said {
        Some(_) => root.refuse("IsEncrypted", &Value::Bool(true), remedy).unwrap_or_default(),
        None => root.missing("IsEncrypted", &format!("that means true, and {remedy}")),
    }
}

fn values(section: Option<Section<'_>>, report: &Report, file: &str) -> Vec<(String, String)> {
    let Some(mut section) = section else { return Vec::new() };
    let mut values = Vec::new();
    for key in section.keys() {
        if key.is_empty() {
            section.take(&key);
            report.notice(
                NoticeKind::Warning,
                format!("{file}: a value of `Values` has an empty name and is skipped"),
            );
            continue;
        }
        match section.take(&key) {
            None => report.notice(
                NoticeKind::Warning,
                format!(
                    "{file}: `Values.{key}` is null and is skipped; write \"\" for an empty value"
                ),
            ),
            Some(Value::String(text)) => values.push((key, text)),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => {
                values.push((key, value.to_string()));
            }
            Some(value) => refuse_secret(report, file, &format!("Values.{key}"), &value),
        }
    }
    values
}

fn connection_strings(
    section: Option<Section<'_>>,
    report: &Report,
    file: &str,
) -> Vec<(String, String)> {
    let Some(mut section) = section else { return Vec::new() };
    let mut values = Vec::new();
    for key in section.keys() {
        let text = match section.take(&key) {
            Some(Value::Object(mut entry)) => take_text(&mut entry, "ConnectionString"),
            Some(Value::String(text)) => Some(text),
            Some(value) => {
                refuse_secret(report, file, &format!("ConnectionStrings.{key}"), &value);
                continue;
            }
            None => None,
        };
        match text {
            Some(text) if !key.is_empty() => {
                values.push((format!("ConnectionStrings:{key}"), text));
            }
            _ => report.notice(
                NoticeKind::Warning,
                format!("{file}: `ConnectionStrings.{key}` has no text and is skipped"),
            ),
        }
    }
    values
}

fn take_text(entry: &mut Map<String, Value>, key: &str) -> Option<String> {
    let spelled = entry.keys().find(|spelled| spelled.eq_ignore_ascii_case(key))?.clone();
    match entry.remove(&spelled) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn refuse_secret(report: &Report, file: &str, key: &str, value: &Value) {
    let found = match value {
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
        Value::Bool(_) => "true or false",
        Value::Null | Value::Number(_) | Value::String(_) => "a number",
    };
    report.error(Error::Value {
        place: file.to_owned(),
        key: key.to_owned(),
        found: found.to_owned(),
        remedy: "write a text in double quotes".to_owned(),
    });
}

impl LocalHost {
    fn read(mut section: Section<'_>) -> Self {
        let port = section.whole("LocalHttpPort", 0..=65_535);
        let address = section.text("LocalHttpAddress").and_then(|text| match text.as_str() {
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            other => other.parse().ok().or_else(|| {
                section.refuse(
                    "LocalHttpAddress",
                    &Value::String(text.clone()),
                    "write an address such as \"127.0.0.1\", or \"0.0.0.0\" for all",
                )
            }),
        });
        let cors = section.text("CORS").map(|text| origins(&text)).unwrap_or_default();
        let cors_credentials = section.flag("CORSCredentials").unwrap_or(false);
        section.finish();
        Self { port, address, cors, cors_credentials }
    }
}

/// Origins with commas between them.
fn origins(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect()
}

/// What the host itself adds to the settings.
#[derive(Debug, Clone)]
pub struct Added<'a> {
    /// Where the host is reached, as `localhost:7071`; unless `WEBSITE_HOSTNAME` says it.
    pub host_name: &'a str,
    /// The folder of the app.
    pub script_root: &'a Path,
    /// Whether this is a developer's machine.
    pub stage: Stage,
}

/// What `AZURE_FUNCTIONS_ENVIRONMENT` becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `Development`, whatever was said.
    Development,
    /// What was said.
    AsSet,
}

/// All settings of an app.
#[derive(Clone, Default)]
pub struct Settings {
    /// By the name in lower case with `:` for `__`.
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    /// The name as it was written.
    name: String,
    value: String,
}

impl Settings {
    /// The environment over the file, and what the host adds.
    pub fn new(
        environment: impl IntoIterator<Item = (String, String)>,
        local: &LocalSettings,
        added: &Added<'_>,
    ) -> (Self, Vec<Notice>) {
        let mut settings = Self::from_pairs(environment);
        let mut notices = Vec::new();
        for (name, value) in &local.values {
            if settings.get(name).is_some() {
                notices.push(Notice::new(
                    NoticeKind::Warning,
                    format!("Skipping '{name}' from local settings as it's already defined in current environment variables."),
                ));
            } else {
                settings.set(name, value);
            }
        }
        settings.add(added, &mut notices);
        (settings, notices)
    }

    /// Settings that are given as they are.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut settings = Self::default();
        for (name, value) in pairs {
            settings.set(&name, &value);
            // The platform's environment variables for connection strings.
            for prefix in ["CUSTOMCONNSTR_", "SQLCONNSTR_", "SQLAZURECONNSTR_", "MYSQLCONNSTR_"] {
                if let Some(short) = name.strip_prefix(prefix) {
                    settings.set(&format!("ConnectionStrings:{short}"), &value);
                }
            }
        }
        settings
    }

    fn add(&mut self, added: &Added<'_>, notices: &mut Vec<Notice>) {
        if self.get("WEBSITE_HOSTNAME").is_none() {
            self.set("WEBSITE_HOSTNAME", added.host_name);
        }
        if self.get("AzureWebJobsScriptRoot").is_none() {
            self.set("AzureWebJobsScriptRoot", &added.script_root.display().to_string());
        }
        if added.stage == Stage::Development {
            if self.get(ENVIRONMENT).is_some_and(|value| value != "Development") {
                let text = format!(
                    "{ENVIRONMENT} is set to something else; it is `Development` for this run"
                );
                notices.push(Notice::new(NoticeKind::Warning, text));
            }
            self.set(ENVIRONMENT, "Development");
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.entries.insert(key(name), Entry { name: name.to_owned(), value: value.to_owned() });
    }

    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.get(&key(name)).map(|entry| entry.value.as_str())
    }

    /// Whether a setting says `true` or `1`.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    /// Whether a setting switches a function off.
    pub fn disables(&self, function: &str) -> bool {
        self.is_on(&format!("AzureWebJobs.{function}.Disabled"))
            || self.is_on(&format!("AzureWebJobs_{function}_Disabled"))
    }

    /// A text with the values of settings for `%name%`.
    pub fn resolve(&self, text: &str) -> Result<String, expression::Error> {
        expression::resolve(text, |name| self.get(name))
    }

    /// The connection string that a binding names: `AzureWebJobs{name}`, `{name}` or `ConnectionStrings:{name}`.
    pub fn connection(&self, name: &str) -> Result<&str, Error> {
        if name.contains(['=', ';']) {
            let problem =
                "a connection string stands in the place of a setting's name; write the name"
                    .to_owned();
            return Err(Error::Rule { place: "settings".to_owned(), problem });
        }
        let name = if name.is_empty() { "Storage" } else { name };
        let candidates =
            [format!("AzureWebJobs{name}"), name.to_owned(), format!("ConnectionStrings:{name}")];
        candidates.iter().find_map(|name| self.get(name).filter(|value| !value.is_empty())).ok_or_else(|| {
            let parts = candidates.iter().find(|name| self.has_below(name));
            let problem = match parts {
                Some(spelled) => format!(
                    "only parts of it are set, as `{spelled}__...`; this host needs a whole connection string, write one as `{spelled}`"
                ),
                None => format!(
                    "tried {}; write the connection string into `Values` of local.settings.json or into the environment",
                    candidates.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                ),
            };
            Error::Rule { place: "settings".to_owned(), problem: format!("the connection `{name}` is not set: {problem}") }
        })
    }

    /// A connection that is set in parts, as `{name}__{part}`: how its name is spelled, and its parts that are not empty.
    pub fn connection_parts(&self, name: &str) -> Option<(String, Vec<(&str, &str)>)> {
        let name = if name.is_empty() { "Storage" } else { name };
        [format!("AzureWebJobs{name}"), name.to_owned()].into_iter().find_map(|spelled| {
            let start = format!("{}:", key(&spelled));
            let below = self.entries.range(start.clone()..);
            let below = below.take_while(|(key, _)| key.starts_with(&start));
            let parts: Vec<_> = below
                .filter(|(_, entry)| !entry.value.is_empty())
                .map(|(_, entry)| {
                    let part = entry.name.rsplit("__").next().unwrap_or_default();
                    (part.rsplit(':').next().unwrap_or_default(), entry.value.as_str())
                })
                .collect();
            (!parts.is_empty()).then_some((spelled, parts))
        })
    }

    fn has_below(&self, name: &str) -> bool {
        let start = format!("{}:", key(name));
        self.entries.range(start.clone()..).next().is_some_and(|(key, _)| key.starts_with(&start))
    }

    /// All names and values, for the environment of an app's process.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.values().map(|entry| (entry.name.as_str(), entry.value.as_str()))
    }

    /// The settings below a prefix of one part: the path behind it, the setting's name and its value.
    pub(crate) fn below(&self, prefix: &str) -> impl Iterator<Item = (Vec<String>, &str, &str)> {
        let start = format!("{}:", key(prefix));
        self.entries.range(start.clone()..).take_while(move |(key, _)| key.starts_with(&start)).map(
            |(_, entry)| {
                let path =
                    entry.name.replace("__", ":").split(':').skip(1).map(str::to_owned).collect();
                (path, entry.name.as_str(), entry.value.as_str())
            },
        )
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.values().map(|entry| &entry.name)).finish()
    }
}

fn key(name: &str) -> String {
    name.replace("__", ":").to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<LocalSettings, Errors> {
        LocalSettings::parse(FILE, text)
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn settings(values: &[(&str, &str)]) -> Settings {
        Settings::from_pairs(pairs(values))
    }

    fn added() -> Added<'static> {
        Added {
            host_name: "localhost:7071",
            script_root: Path::new("/app"),
            stage: Stage::Development,
        }
    }

    fn texts(notices: &[Notice]) -> Vec<&str> {
        notices.iter().map(|notice| notice.text.as_str()).collect()
    }

    #[test]
    fn the_file_gives_values_connection_strings_and_the_host() {
        let local = parse(
            r#"{
                "IsEncrypted": false,
                "Values": { "FUNCTIONS_WORKER_RUNTIME": "python", "COUNT": 3, "ON": true },
                "ConnectionStrings": {
                    "db": "Server=a",
                    "db2": { "connectionString": "Server=b", "ProviderName": "System.Data.SqlClient" }
                },
                "Host": { "LocalHttpPort": 7072, "LocalHttpAddress": "localhost", "CORS": "https://a.example, *", "CORSCredentials": true }
            }"#,
        )
        .unwrap();
        assert_eq!(
            local.host,
            LocalHost {
                port: Some(7072),
                address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                cors: vec!["https://a.example".to_owned(), "*".to_owned()],
                cors_credentials: true,
            }
        );
        let (settings, notices) = Settings::new([], &local, &added());
        assert_eq!(notices, []);
        let all: Vec<_> = settings.pairs().collect();
        assert_eq!(
            all,
            [
                ("AZURE_FUNCTIONS_ENVIRONMENT", "Development"),
                ("AzureWebJobsScriptRoot", "/app"),
                ("ConnectionStrings:db", "Server=a"),
                ("ConnectionStrings:db2", "Server=b"),
                ("COUNT", "3"),
                ("FUNCTIONS_WORKER_RUNTIME", "python"),
                ("ON", "true"),
                ("WEBSITE_HOSTNAME", "localhost:7071"),
            ]
        );
    }

    #[test]
    fn the_environment_wins_and_says_so() {
        let local =
            parse(r#"{ "IsEncrypted": false, "Values": { "A": "file", "B": "file" } }"#).unwrap();
        let environment = pairs(&[
            ("a", "env"),
            ("AZURE_FUNCTIONS_ENVIRONMENT", "Staging"),
            ("WEBSITE_HOSTNAME", "me"),
        ]);
        let (settings, notices) = Settings::new(environment, &local, &added());
        assert_eq!((settings.get("A"), settings.get("B")), (Some("env"), Some("file")));
        assert_eq!(settings.get("WEBSITE_HOSTNAME"), Some("me"));
        assert_eq!(settings.get("AZURE_FUNCTIONS_ENVIRONMENT"), Some("Development"));
        assert_eq!(
            texts(&notices),
            [
                "Skipping 'A' from local settings as it's already defined in current environment variables.",
                "AZURE_FUNCTIONS_ENVIRONMENT is set to something else; it is `Development` for this run",
            ]
        );
    }

    #[test]
    fn encrypted_values_are_refused() {
        assert_eq!(
            error(r#"{ "Values": { "A": "xyz" } }"#),
            "local.settings.json: `IsEncrypted` is missing; that means true, and only the machine that encrypted the \
             values can read them; write them in plain text with \"IsEncrypted\": false, or run `func settings decrypt` there"
        );
        assert_eq!(
            error(r#"{ "IsEncrypted": true, "Values": { "A": "xyz" } }"#),
            "local.settings.json: `IsEncrypted` is true; only the machine that encrypted the values can read them; \
             write them in plain text with \"IsEncrypted\": false, or run `func settings decrypt` there"
        );
        assert!(
            parse(r#"{ "IsEncrypted": true, "Values": {} }"#).is_ok(),
            "there is nothing to decrypt"
        );
    }

    #[test]
    fn null_and_nameless_values_are_skipped_with_a_word() {
        let local = parse(r#"{ "IsEncrypted": false, "Values": { "": "x", "A": null }, "Extra": 1, "ConnectionStrings": { "c": {} } }"#).unwrap();
        assert_eq!(
            texts(&local.notices),
            [
                "local.settings.json: a value of `Values` has an empty name and is skipped",
                "local.settings.json: `Values.A` is null and is skipped; write \"\" for an empty value",
                "local.settings.json: `ConnectionStrings.c` has no text and is skipped",
                "local.settings.json: `Extra` is not known and is ignored",
            ]
        );
    }

    #[test]
    fn bad_values_are_named_without_being_shown() {
        assert_eq!(
            error(
                r#"{ "IsEncrypted": false, "Values": { "A": ["secret"] }, "Host": { "LocalHttpPort": 70000, "LocalHttpAddress": "here" } }"#
            ),
            "local.settings.json: `Values.A` is a list; write a text in double quotes\n\
             local.settings.json: `Host.LocalHttpPort` is 70000; write a whole number from 0 to 65535\n\
             local.settings.json: `Host.LocalHttpAddress` is \"here\"; write an address such as \"127.0.0.1\", or \"0.0.0.0\" for all"
        );
        assert_eq!(
            error("[]"),
            "local.settings.json: the file is no object; write {\"IsEncrypted\": false, \"Values\": {}}"
        );
    }

    #[test]
    fn connections_are_looked_up_in_order() {
        let all = [
            ("AzureWebJobsOrders", "1"),
            ("Orders", "2"),
            ("ConnectionStrings__Orders", "3"),
            ("AzureWebJobsStorage", "4"),
        ];
        assert_eq!(settings(&all).connection("Orders"), Ok("1"));
        assert_eq!(settings(&all[1..]).connection("orders"), Ok("2"));
        assert_eq!(settings(&all[2..]).connection("Orders"), Ok("3"));
        assert_eq!(settings(&all[3..]).connection(""), Ok("4"));
        assert_eq!(settings(&all[3..]).connection("AzureWebJobsStorage"), Ok("4"));
        assert_eq!(settings(&[("CUSTOMCONNSTR_db", "5")]).connection("db"), Ok("5"));
    }

    #[test]
    fn a_connection_in_parts_is_found_under_both_of_its_names() {
        let all = [
            ("AzureWebJobsStorage__accountName", "acct"),
            ("AzureWebJobsStorage__credential", "managedidentity"),
            ("Orders:queueServiceUri", "https://a"),
            ("Orders__clientId", ""),
            ("Ordersx__clientId", "1"),
        ];
        let all = settings(&all);
        let storage = (
            "AzureWebJobsStorage".to_owned(),
            vec![("accountName", "acct"), ("credential", "managedidentity")],
        );
        assert_eq!(all.connection_parts(""), Some(storage.clone()));
        assert_eq!(all.connection_parts("Storage"), Some(storage.clone()));
        assert_eq!(
            all.connection_parts("azurewebjobsstorage").map(|found| found.1),
            Some(storage.1)
        );
        let orders = ("Orders".to_owned(), vec![("queueServiceUri", "https://a")]);
        assert_eq!(all.connection_parts("Orders"), Some(orders));
        assert_eq!(all.connection_parts("Missing"), None);
    }

    #[test]
    fn a_connection_that_is_not_set_says_where_it_was_sought() {
        assert_eq!(
            settings(&[]).connection("Orders").unwrap_err().to_string(),
            "settings: the connection `Orders` is not set: tried `AzureWebJobsOrders`, `Orders`, `ConnectionStrings:Orders`; \
             write the connection string into `Values` of local.settings.json or into the environment"
        );
        assert_eq!(
            settings(&[("Orders__queueServiceUri", "https://a")])
                .connection("Orders")
                .unwrap_err()
                .to_string(),
            "settings: the connection `Orders` is not set: only parts of it are set, as `Orders__...`; \
             this host needs a whole connection string, write one as `Orders`"
        );
    }

    #[test]
    fn a_connection_string_is_no_name_and_is_not_shown() {
        assert_eq!(
            settings(&[]).connection("AccountKey=hush").unwrap_err().to_string(),
            "settings: a connection string stands in the place of a setting's name; write the name"
        );
    }

    #[test]
    fn functions_are_switched_off_by_either_spelling() {
        assert!(settings(&[("AzureWebJobs.Save.Disabled", "True")]).disables("save"));
        assert!(settings(&[("AzureWebJobs_Save_Disabled", "1")]).disables("Save"));
        assert!(!settings(&[("AzureWebJobs.Save.Disabled", "no")]).disables("Save"));
    }

    #[test]
    fn debug_texts_hold_no_values() {
        let local = parse(r#"{ "IsEncrypted": false, "Values": { "A": "hush" } }"#).unwrap();
        let (settings, _) = Settings::new(pairs(&[("B", "hush")]), &local, &added());
        let text = format!("{local:?} {settings:?}");
        assert!(text.contains("\"A\"") && text.contains("\"B\""), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn the_notice_of_a_missing_file_names_the_path() {
        assert_eq!(
            LocalSettings::not_found(Path::new("/app/local.settings.json")).text,
            "local.settings.json file not found. Path searched: /app/local.settings.json"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[{}\\[\\]\":,a-zA-Z0-9. ]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&format!("{{\"IsEncrypted\": false, \"Values\": {text}, \"Host\": {text}, \"ConnectionStrings\": {text}}}"));
        }

        #[test]
        fn names_are_found_in_any_case(name in "[a-zA-Z:.]{1,12}", value in "\\PC{0,8}") {
            let settings = settings(&[(&name, &value)]);
            prop_assert_eq!(settings.get(&name.to_uppercase()), Some(value.as_str()));
            prop_assert_eq!(settings.get(&name.replace(':', "__")).is_some(), true);
        }
    }
}
