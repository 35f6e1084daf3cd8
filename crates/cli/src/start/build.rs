//! Building an app with cargo, whose own progress goes to stderr.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::fault::{Exit, Fault};

/// For what is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// A short build.
    Debug,
    /// A fast program.
    Release,
}

/// What is to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Build {
    manifest: PathBuf,
    binary: String,
    profile: Profile,
    target_folder: PathBuf,
}

impl Build {
    /// The binary of the package in a folder.
    pub(super) fn of(root: &Path, wanted: Option<&str>, profile: Profile) -> Result<Self, Fault> {
        let manifest = root.join("Cargo.toml");
        let manifest = manifest
            .canonicalize()
            .map_err(|error| Fault::file("cannot read", &manifest, &error))?;
        let mut cargo = cargo();
        cargo
            .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
            .arg(&manifest);
        let output = cargo.stderr(Stdio::inherit()).output().map_err(|error| no_cargo(&error))?;
        if !output.status.success() {
            return Err(Fault::error(format!("cargo cannot read `{}`", manifest.display())));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| {
            Fault::error(format!("`cargo metadata` answered something else: {error}"))
        })?;
        Self::choose(&metadata, manifest, wanted, profile)
    }

    fn choose(
        metadata: &Value,
        manifest: PathBuf,
        wanted: Option<&str>,
        profile: Profile,
    ) -> Result<Self, Fault> {
        let shown = manifest.display().to_string();
        let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let package = packages
            .iter()
            .find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest));
        let package = package.ok_or_else(|| {
            Fault::usage(format!("`{shown}` is a workspace, which is no app"))
                .remedy("name the folder of one of its packages: `everstep start FOLDER`")
        })?;
        let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_binary = |target: &&Value| {
            target["kind"].as_array().is_some_and(|kinds| kinds.contains(&"bin".into()))
        };
        let names: Vec<&str> =
            targets.iter().filter(is_binary).filter_map(|target| target["name"].as_str()).collect();
        let listed = names.join(", ");
        let named =
            |name: &Value| name.as_str().filter(|name| names.contains(name)).map(str::to_owned);
        let binary = match (wanted, names.as_slice()) {
            (_, []) => Err(Fault::error(format!("the package of `{shown}` has no binary"))
                .remedy("an app is a program: its src/main.rs calls everstep_host::main")),
            (Some(wanted), names) if names.contains(&wanted) => Ok(wanted.to_owned()),
            (Some(wanted), _) => {
                Err(Fault::usage(format!("the package of `{shown}` has no binary `{wanted}`"))
                    .remedy(format!("it has: {listed}")))
            }
            (None, [only]) => Ok((*only).to_owned()),
            (None, _) => named(&package["default_run"])
                .or_else(|| named(&package["name"]))
                .ok_or_else(|| {
                    Fault::usage(format!("the package of `{shown}` has several binaries: {listed}"))
                        .remedy("name the app's with --bin")
                }),
        }?;
        let target_folder = metadata["target_directory"].as_str().unwrap_or("target").into();
        Ok(Self { manifest, binary, profile, target_folder })
    }

    /// What is said before the first build.
    pub(super) fn announcement(&self) -> String {
        match self.profile {
            Profile::Debug => {
                format!("building {} (--release builds a faster program)", self.binary)
            }
            Profile::Release => format!("building {} for release", self.binary),
        }
    }

    /// Builds; where the binary is.
    pub(super) fn run(&self) -> Result<PathBuf, Fault> {
        let mut cargo = cargo();
        cargo.args(["build", "--message-format", "json-render-diagnostics", "--bin", &self.binary]);
        cargo.arg("--manifest-path").arg(&self.manifest);
        if self.profile == Profile::Release {
            cargo.arg("--release");
        }
        let output = cargo.stderr(Stdio::inherit()).output().map_err(|error| no_cargo(&error))?;
        if !output.status.success() {
            return Err(Fault::error(format!("{} could not be built", self.binary)));
        }
        executable(&String::from_utf8_lossy(&output.stdout), &self.binary).ok_or_else(|| {
            Fault::error(format!("cargo built {} and did not say where it is", self.binary))
        })
    }

    /// Where an earlier build left the binary.
    pub(super) fn built(&self) -> Result<PathBuf, Fault> {
        let folder = match self.profile {
            Profile::Debug => "debug",
            Profile::Release => "release",
        };
        let name = format!("{}{}", self.binary, std::env::consts::EXE_SUFFIX);
        let path = self.target_folder.join(folder).join(name);
        if path.is_file() {
            return Ok(path);
        }
        Err(Fault::new(
            Exit::NotFound,
            format!("{} has not been built: `{}` is not there", self.binary, path.display()),
        )
        .remedy("start without --no-build"))
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn no_cargo(error: &std::io::Error) -> Fault {
    Fault::error(format!("cargo cannot be run: {error}"))
        .remedy("an app in Rust is built by cargo; install it from https://rustup.rs, or name it in the variable CARGO")
}

/// The path of a binary among cargo's messages.
fn executable(messages: &str, binary: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = messages.filter(|message| {
        message["reason"] == "compiler-artifact" && message["target"]["name"] == binary
    });
    found.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chosen(
        targets: &[&str],
        default_run: Option<&str>,
        wanted: Option<&str>,
    ) -> Result<String, String> {
        let targets: Vec<Value> = targets
            .iter()
            .map(|name| json!({ "name": name, "kind": ["bin"] }))
            .chain([json!({ "name": "shop", "kind": ["lib"] })])
            .collect();
        let metadata = json!({
            "packages": [
                { "manifest_path": "other/Cargo.toml", "name": "other", "targets": [] },
                { "manifest_path": "shop/Cargo.toml", "name": "shop", "default_run": default_run, "targets": targets },
            ],
            "target_directory": "target",
        });
        let build = Build::choose(&metadata, "shop/Cargo.toml".into(), wanted, Profile::Debug);
        build.map(|build| build.binary).map_err(|fault| fault.to_string())
    }

    #[test]
    fn the_binary_is_the_only_one_or_the_default_or_the_packages_own() {
        assert_eq!(chosen(&["main"], None, None).unwrap(), "main");
        assert_eq!(chosen(&["a", "b"], Some("b"), None).unwrap(), "b");
        assert_eq!(chosen(&["a", "shop"], None, None).unwrap(), "shop");
        assert_eq!(chosen(&["a", "b"], None, Some("a")).unwrap(), "a");
        assert_eq!(
            chosen(&["a", "b"], None, None).unwrap_err(),
            "error: the package of `shop/Cargo.toml` has several binaries: a, b\n  name the app's with --bin"
        );
        assert_eq!(
            chosen(&["a"], None, Some("x")).unwrap_err(),
            "error: the package of `shop/Cargo.toml` has no binary `x`\n  it has: a"
        );
        assert_eq!(
            chosen(&[], None, None).unwrap_err(),
            "error: the package of `shop/Cargo.toml` has no binary\n  an app is a program: its src/main.rs calls everstep_host::main"
        );
    }

    #[test]
    fn a_workspace_is_no_app() {
        let fault =
            Build::choose(&json!({ "packages": [] }), "Cargo.toml".into(), None, Profile::Debug);
        assert_eq!(
            fault.unwrap_err().to_string(),
            "error: `Cargo.toml` is a workspace, which is no app\n  name the folder of one of its packages: `everstep start FOLDER`"
        );
    }

    #[test]
    fn cargo_says_where_the_binary_is() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"everstep"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"shop"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"shop"},"executable":"target/debug/shop"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "shop").unwrap(), Path::new("target/debug/shop"));
        assert_eq!(executable(messages, "other"), None);
    }
}
