//! What a host prints when it is ready: the functions, where they are, where to look next.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

/// One line of the functions table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) what: What,
}

/// What a function is bound to, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// An address; no methods means all.
    Http {
        methods: Vec<String>,
        url: String,
    },
    /// The kind of its trigger.
    Trigger(String),
    Disabled,
}

/// What there is to say about a host that is ready.
#[derive(Debug)]
pub(crate) struct Ready<'a> {
    pub(crate) functions: &'a [Shown],
    pub(crate) url: &'a str,
    pub(crate) hub: &'a str,
    pub(crate) data: &'a Path,
    /// Whether keys are required, and why.
    pub(crate) keys: &'a str,
    /// What HTTPS is spoken with, and its fingerprint.
    pub(crate) certificate: Option<(&'a str, &'a str)>,
    /// Instances that an earlier run left unfinished.
    pub(crate) unfinished: u64,
    pub(crate) held: bool,
    /// Where storage queues and blobs are, if they are ours.
    pub(crate) storage: Option<&'a str>,
    pub(crate) milliseconds: u128,
}

impl Ready<'_> {
    /// For people. The functions look as those of `func start` do.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a text takes what is written to it");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\nFunctions:\n")?;
        let (http, others): (Vec<_>, Vec<_>) =
            self.functions.iter().partition(|function| matches!(function.what, What::Http { .. }));
        for function in http.iter().chain(&others) {
            match &function.what {
                What::Http { methods, url } if methods.is_empty() => {
                    writeln!(out, "\t{}: {url}\n", function.name)?;
                }
                What::Http { methods, url } => {
                    writeln!(out, "\t{}: [{}] {url}\n", function.name, methods.join(","))?;
                }
                What::Trigger(kind) => writeln!(out, "\t{}: {kind}\n", function.name)?,
                What::Disabled => {}
            }
        }
        for function in self.functions.iter().filter(|function| function.what == What::Disabled) {
            writeln!(out, "Function {} is disabled.", function.name)?;
        }
        if self.functions.is_empty() {
            writeln!(out, "\tnone: the app registers no function, so nothing will happen\n")?;
        }
        writeln!(out, "Task hub:    {} in {}", self.hub, self.data.display())?;
        writeln!(out, "Management:  {}/runtime/webhooks/durabletask/instances", self.url)?;
        writeln!(out, "Keys:        {}", self.keys)?;
        if let Some((certificate, fingerprint)) = self.certificate {
            writeln!(out, "Certificate: {certificate}\n             SHA-256 {fingerprint}")?;
        }
        if let Some(storage) = self.storage {
            writeln!(out, "Storage:     {storage}")?;
        }
        match (self.unfinished, self.held) {
            (0, _) => {}
            (count, true) => writeln!(
                out,
                "Unfinished:  {count} from earlier runs; held until `everstep release`"
            )?,
            (count, false) => writeln!(
                out,
                "Unfinished:  {count} from earlier runs; they go on (start with --hold to look first, --fresh to drop them)"
            )?,
        }
        writeln!(
            out,
            "\nReady in {} ms. Next: `everstep ls`, `everstep why ID`; Ctrl-C stops and loses nothing.",
            self.milliseconds
        )
    }

    /// For machines: one object.
    pub(crate) fn json(&self) -> Value {
        let functions: Vec<_> = self
            .functions
            .iter()
            .map(|function| match &function.what {
                What::Http { methods, url } => json!({
                    "name": function.name, "trigger": "httpTrigger", "methods": methods, "url": url
                }),
                What::Trigger(kind) => json!({ "name": function.name, "trigger": kind }),
                What::Disabled => json!({ "name": function.name, "disabled": true }),
            })
            .collect();
        json!({
            "event": "ready",
            "url": self.url,
            "functions": functions,
            "hub": self.hub,
            "data": self.data,
            "keys": self.keys,
            "certificateSha256": self.certificate.map(|(_, fingerprint)| fingerprint),
            "unfinished": self.unfinished,
            "held": self.held,
            "storage": self.storage,
            "milliseconds": u64::try_from(self.milliseconds).unwrap_or(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions() -> Vec<Shown> {
        let http = |name: &str, methods: &[&str]| Shown {
            name: name.to_owned(),
            what: What::Http {
                methods: methods.iter().map(|method| (*method).to_owned()).collect(),
                url: format!("http://localhost:7071/api/{}", name.to_lowercase()),
            },
        };
        vec![
            Shown { name: "Hello".into(), what: What::Trigger("orchestrationTrigger".into()) },
            http("HttpStart", &["POST", "GET"]),
            http("Any", &[]),
            Shown { name: "Old".into(), what: What::Disabled },
        ]
    }

    fn ready(functions: &[Shown]) -> Ready<'_> {
        Ready {
            functions,
            url: "http://localhost:7071",
            hub: "TestHubName",
            data: Path::new("app/.everstep"),
            keys: "not required: only this machine can connect",
            certificate: None,
            unfinished: 3,
            held: false,
            storage: None,
            milliseconds: 12,
        }
    }

    #[test]
    fn functions_with_addresses_stand_first_and_disabled_ones_last() {
        insta::assert_snapshot!(ready(&functions()).text());
    }

    #[test]
    fn an_app_without_functions_is_told_so() {
        assert!(ready(&[]).text().contains("the app registers no function"));
    }

    #[test]
    fn machines_get_the_same_facts() {
        insta::assert_json_snapshot!(ready(&functions()).json());
    }
}
