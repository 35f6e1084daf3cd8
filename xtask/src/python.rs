//! Environments of Python for the tests of Python apps: one for each line of the SDK that apps have.
//!
//! Each is made by name from the registry into `target/outside`, once; what it is made of is fixed, so that a run years
//! later tests the same.

use anyhow::Context as _;

use crate::{
    counts::Counts,
    outside, process,
    process::{Tool, say},
};

/// Versions of azure-functions-durable, and the azure-functions that they are used with.
const SDKS: [(&str, &str); 4] =
    [("1.2.10", "1.26.0"), ("1.3.1", "1.26.0"), ("1.5.0", "1.26.0"), ("1.7.0", "1.26.0")];
/// What the last of them has besides: responses that come in parts.
const STREAMS: &str = "azurefunctions-extensions-http-fastapi==1.0.1";
/// Where the tests find the environments: folders in the form of `PATH`, each called as the version.
const VARIABLE: &str = "EVERSTEP_PYTHON_ENVIRONMENTS";

/// Runs the tests of the crate, then apps against each version of the SDK.
pub(crate) fn test(args: &[std::ffi::OsString]) -> anyhow::Result<Counts> {
    let select = ["--package", "everstep-python"];
    let alone = process::tests(&select, args)? + process::doc_tests(&select, args)?;
    let variables = [(VARIABLE, environments()?)];
    let cargo = Tool::cargo(&["test", "--package", "everstep-cli", "--test", "python"]);
    let cargo = cargo.args(["--", "--ignored"]).args(args).variables(&variables);
    Ok(alone + cargo.run_tests()?)
}

/// Makes what is missing.
fn environments() -> anyhow::Result<String> {
    let place = outside::folder().join("python-sdks");
    let mut folders = Vec::new();
    for (durable, functions) in SDKS {
        let folder = place.join(durable);
        let packages = [
            format!("azure-functions=={functions}"),
            format!("azure-functions-durable=={durable}"),
        ];
        let is_last = durable == SDKS[SDKS.len() - 1].0;
        let streams = is_last.then_some(STREAMS);
        let packages: Vec<&str> = packages.iter().map(String::as_str).chain(streams).collect();
        outside::python(&folder, &packages)?;
        folders.push(folder);
    }
    say(&format!("environments: {}", place.display()));
    let joined = std::env::join_paths(folders).context("the target folder's name has a colon")?;
    joined.into_string().ok().context("the target folder's name is no UTF-8")
}
