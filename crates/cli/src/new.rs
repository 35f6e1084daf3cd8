//! `new` and `init`: a new app from the template.
//!
//! N1  A file that is there is never written over.
//! N2  What is written builds and passes its tests as it stands, given that cargo finds Everstep, or pip the packages of
//!     Azure Functions. An app in Python runs under the original's `func start` as well.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    args::{FuncNew, Init, New},
    console::Console,
    fault::{Exit, Fault},
};

/// The files of an app in Rust. Names of the template that cargo or git would act on have another ending here.
const RUST: [(&str, &str); 8] = [
    ("Cargo.toml", include_str!("../templates/rust/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../templates/rust/src/lib.rs")),
    ("src/main.rs", include_str!("../templates/rust/src/main.rs")),
    ("tests/order.rs", include_str!("../templates/rust/tests/order.rs")),
    ("host.json", include_str!("../templates/rust/host.json")),
    ("local.settings.json", include_str!("../templates/rust/local.settings.json")),
    (".gitignore", include_str!("../templates/rust/gitignore.in")),
    ("README.md", include_str!("../templates/rust/README.md")),
];
/// The files of an app in Python.
const PYTHON: [(&str, &str); 8] = [
    ("function_app.py", include_str!("../templates/python/function_app.py")),
    ("test_order.py", include_str!("../templates/python/test_order.py")),
    ("requirements.txt", include_str!("../templates/python/requirements.txt")),
    ("host.json", include_str!("../templates/python/host.json")),
    ("local.settings.json", include_str!("../templates/python/local.settings.json")),
    (".funcignore", include_str!("../templates/python/funcignore.in")),
    (".gitignore", include_str!("../templates/python/gitignore.in")),
    ("README.md", include_str!("../templates/python/README.md")),
];
/// What stands for the name of the package, and for that of its library.
const NAME: &str = "app-name";
const LIBRARY: &str = "app_name";
const DEPENDENCIES: &str = "# dependencies on Everstep\n";
const WORKSPACE: &str = "# workspace\n";
/// The version of the crates that belong to this binary.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `everstep new`
pub(crate) fn new(new: &New, console: &mut Console) -> Result<(), Fault> {
    refuse_func_templates(&new.func)?;
    let (Some(language), Some(name)) = (&new.language, &new.app_name) else {
        return Err(Fault::usage("name a language and the app")
            .remedy("everstep new rust NAME, or everstep new python NAME"));
    };
    let language = Language::named(language, "everstep new LANGUAGE NAME")?;
    make(language, Path::new(name), name, new.everstep_path.as_deref(), console)
}

/// `everstep init`
pub(crate) fn init(init: &Init, console: &mut Console) -> Result<(), Fault> {
    let Some(language) = &init.worker_runtime else {
        return Err(Fault::usage("name a language")
            .remedy("everstep init --worker-runtime rust, or --worker-runtime python"));
    };
    let language = Language::named(language, "everstep init --worker-runtime LANGUAGE")?;
    for flag in unused(init) {
        console.note(&format!("{flag} is accepted and has no effect here"));
    }
    let folder = init.folder.clone().unwrap_or_else(|| PathBuf::from("."));
    let absolute = std::path::absolute(&folder)
        .map_err(|error| Fault::file("cannot find", &folder, &error))?;
    let name = absolute.file_name().and_then(|name| name.to_str()).unwrap_or("app").to_lowercase();
    let name = name.replace([' ', '.'], "-");
    make(language, &folder, &name, init.everstep_path.as_deref(), console)
}

fn refuse_func_templates(func: &FuncNew) -> Result<(), Fault> {
    let template = func.template.is_some() || func.name.is_some() || func.language.is_some();
    if template || func.file.is_some() || func.authlevel.is_some() || func.csx {
        return Err(Fault::usage("functions are not made from templates here: each is a function in the app's source")
            .remedy("make an app with `everstep new rust NAME` or `everstep new python NAME`; its source shows each kind of function"));
    }
    Ok(())
}

/// What an app is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    Python,
}

impl Language {
    /// The one that somebody names. `example` is the command with the place for it.
    fn named(language: &str, example: &str) -> Result<Self, Fault> {
        let is = |name: &str| language.eq_ignore_ascii_case(name);
        if is("rust") {
            return Ok(Self::Rust);
        }
        if is("python") {
            return Ok(Self::Python);
        }
        let known = [
            "dotnet",
            "dotnet-isolated",
            "node",
            "powershell",
            "java",
            "go",
            "typescript",
            "javascript",
        ];
        let text = if is("custom") {
            "there is no template for custom handlers: they run as they are, from a host.json with customHandler".to_owned()
        } else if known.iter().any(|known| is(known)) {
            format!("apps in {language} are not served yet")
        } else {
            format!("`{language}` is no language with a template")
        };
        let examples = ["rust", "python"].map(|name| example.replace("LANGUAGE", name));
        Err(Fault::usage(text).remedy(format!("there are two: {}", examples.join(", "))))
    }
}

fn unused(init: &Init) -> Vec<&'static str> {
    let func = &init.func;
    let flags = [
        ("--language", func.language.is_some()),
        ("--model", func.model.is_some()),
        ("--source-control", func.source_control),
        ("--docker", func.docker),
        ("--docker-only", func.docker_only),
        ("--no-bundle", func.no_bundle),
        ("--bundles-channel", func.bundles_channel.is_some()),
        ("--force", func.force),
        ("--csx", func.csx),
        ("--target-framework", func.target_framework.is_some()),
        ("--skip-npm-install", func.skip_npm_install),
        ("--no-docs", func.no_docs),
        ("--managed-dependencies", func.managed_dependencies),
        ("--configuration-profile", func.configuration_profile.is_some()),
    ];
    flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect()
}

fn make(
    language: Language,
    folder: &Path,
    name: &str,
    everstep: Option<&Path>,
    console: &mut Console,
) -> Result<(), Fault> {
    // A path may name the folder; the package is called like its last part.
    let name = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name);
    check_name(name)?;
    let (files, told) = match language {
        Language::Rust => {
            let origin = origin(everstep)?;
            (rendered(name, &origin, is_below_a_package(folder)), Some(origin.told()))
        }
        Language::Python => {
            (PYTHON.map(|(path, text)| (path, text.replace(NAME, name))).into(), None)
        }
    };
    let there: Vec<&str> =
        files.iter().map(|(path, _)| *path).filter(|path| folder.join(path).exists()).collect();
    if !there.is_empty() {
        let text = format!("`{}` already has {}", folder.display(), there.join(", "));
        return Err(
            Fault::new(Exit::Refused, text).remedy("nothing was written; choose another folder")
        );
    }
    for (path, text) in &files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| Fault::file("cannot make", parent, &error))?;
        fs::write(&path, text).map_err(|error| Fault::file("cannot write", &path, &error))?;
    }
    console.note(&format!("made {} in {}", name, folder.display()));
    told.iter().for_each(|told| console.note(told));
    console.note(&format!("next: everstep start {}", folder.display()));
    Ok(())
}

/// Whether cargo accepts the name of a package.
fn check_name(name: &str) -> Result<(), Fault> {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let fits = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
    if begins && fits && name != "test" && name != "everstep" {
        return Ok(());
    }
    Err(Fault::usage(format!("`{name}` cannot be the name of an app"))
        .remedy("begin with a letter and go on with letters, digits, `-` and `_`; `test` and `everstep` are taken"))
}

/// Where an app gets Everstep from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// A checkout.
    Folder(PathBuf),
    /// The registry of crates.
    Registry,
}

fn origin(named: Option<&Path>) -> Result<Origin, Fault> {
    let is_checkout = |folder: &Path| {
        ["crates/sdk/Cargo.toml", "crates/host/Cargo.toml"]
            .iter()
            .all(|file| folder.join(file).is_file())
    };
    if let Some(named) = named {
        let folder =
            named.canonicalize().map_err(|error| Fault::file("cannot find", named, &error))?;
        return if is_checkout(&folder) {
            Ok(Origin::Folder(folder))
        } else {
            Err(Fault::usage(format!("`{}` is no checkout of Everstep", named.display()))
                .remedy("--everstep-path is the folder that has crates/sdk and crates/host"))
        };
    }
    // A binary that was built in a checkout, wherever cargo put it, belongs to that checkout.
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let checkout = built_in.filter(|folder| is_checkout(folder));
    Ok(checkout.map_or(Origin::Registry, |folder| Origin::Folder(folder.to_owned())))
}

impl Origin {
    fn dependencies(&self) -> String {
        let version = VERSION;
        match self {
            Self::Folder(folder) => {
                let path = |part: &str| toml_text(&folder.join("crates").join(part));
                format!(
                    "# These are the sources that this `everstep` was built from. Elsewhere, or when the crates are published, write\n\
                     # a version instead: everstep = \"{version}\" and everstep-host = \"{version}\".\n\
                     everstep = {{ path = {} }}\neverstep-host = {{ path = {} }}\n",
                    path("sdk"),
                    path("host")
                )
            }
            Self::Registry => format!(
                "# This `everstep` is not among its sources, so these are versions, which have to be published. Until they are,\n\
                 # write paths to a checkout: everstep = {{ path = \"CHECKOUT/crates/sdk\" }} and\n\
                 # everstep-host = {{ path = \"CHECKOUT/crates/host\" }}.\n\
                 everstep = \"{version}\"\neverstep-host = \"{version}\"\n"
            ),
        }
    }

    /// Where the app gets Everstep from, for whoever made it.
    fn told(&self) -> String {
        match self {
            Self::Folder(folder) => {
                format!("it uses the sources of Everstep in {}", folder.display())
            }
            Self::Registry => format!(
                "it needs version {VERSION} of the crates everstep and everstep-host; while they are not published, make it with --everstep-path FOLDER, which names a checkout of Everstep"
            ),
        }
    }
}

/// A path as a string of TOML.
fn toml_text(path: &Path) -> String {
    serde_json::Value::from(path.display().to_string()).to_string()
}

/// Whether cargo would take a package in this folder for a part of one above it.
fn is_below_a_package(folder: &Path) -> bool {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    whole.ancestors().skip(1).any(|above| above.join("Cargo.toml").is_file())
}

fn rendered(name: &str, origin: &Origin, is_below_a_package: bool) -> Vec<(&'static str, String)> {
    let workspace = if is_below_a_package {
        "# This package does not belong to the workspace above it.\n[workspace]\n"
    } else {
        ""
    };
    let render = |text: &str| {
        text.replace(DEPENDENCIES, &origin.dependencies())
            .replace(WORKSPACE, workspace)
            .replace(LIBRARY, &name.replace('-', "_"))
            .replace(NAME, name)
    };
    RUST.iter().map(|(path, text)| (*path, render(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args::Output, console::Screen, testing::Screenful};

    fn made(folder: &Path, name: &str) -> Result<String, Fault> {
        made_in(Language::Rust, folder, name)
    }

    fn made_in(language: Language, folder: &Path, name: &str) -> Result<String, Fault> {
        let mut full = Screenful::new(Output::default(), Screen::Pipe);
        let checkout = folder.join("checkout");
        for part in ["sdk", "host"] {
            fs::create_dir_all(checkout.join("crates").join(part)).unwrap();
            fs::write(checkout.join("crates").join(part).join("Cargo.toml"), "").unwrap();
        }
        make(language, &folder.join(name), name, Some(&checkout), &mut full.console)?;
        Ok(full.err())
    }

    #[test]
    fn the_template_is_written_with_the_name_of_the_app() {
        let folder = tempfile::tempdir().unwrap();
        let said = made(folder.path(), "my-shop").unwrap();
        assert!(said.contains("it uses the sources of Everstep in "), "{said}");
        let read =
            |path: &str| fs::read_to_string(folder.path().join("my-shop").join(path)).unwrap();
        let manifest = read("Cargo.toml");
        assert!(manifest.contains("name = \"my-shop\""), "{manifest}");
        assert!(manifest.contains("everstep = { path = \""), "{manifest}");
        assert!(manifest.contains("when the crates are published, write"), "{manifest}");
        assert!(read("src/main.rs").contains("use my_shop::"), "{}", read("src/main.rs"));
        for (path, _) in RUST {
            let text = read(path);
            assert!(!text.contains("app_name") && !text.contains("app-name"), "{path}: {text}");
        }
    }

    #[test]
    fn an_app_in_python_needs_no_checkout_and_names_the_packages_of_the_original() {
        let folder = tempfile::tempdir().unwrap();
        made_in(Language::Python, folder.path(), "my-shop").unwrap();
        let read =
            |path: &str| fs::read_to_string(folder.path().join("my-shop").join(path)).unwrap();
        assert!(read("README.md").starts_with("# my-shop\n"), "{}", read("README.md"));
        assert!(read("requirements.txt").contains("azure-functions-durable"));
        for (path, _) in PYTHON {
            assert!(!read(path).contains(NAME), "{path}: {}", read(path));
        }
        for path in ["host.json", "local.settings.json"] {
            serde_json::from_str::<serde_json::Value>(&read(path)).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_there_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("shop")).unwrap();
        fs::write(folder.path().join("shop/host.json"), "mine").unwrap();
        let fault = made(folder.path(), "shop").unwrap_err();
        assert_eq!(fault.exit, Exit::Refused);
        assert!(fault.text.ends_with("already has host.json"), "{fault}");
        assert!(!folder.path().join("shop/Cargo.toml").exists(), "nothing was written");
    }

    #[test]
    fn a_name_that_is_no_package_is_refused() {
        for name in ["7up", "a b", "test", ""] {
            let fault = check_name(name).unwrap_err();
            assert_eq!(fault.text, format!("`{name}` cannot be the name of an app"));
        }
    }

    #[test]
    fn other_languages_are_told_what_there_is() {
        let text = |language| {
            Language::named(language, "everstep new LANGUAGE NAME").unwrap_err().to_string()
        };
        assert_eq!(
            text("node"),
            "error: apps in node are not served yet\n  there are two: everstep new rust NAME, everstep new python NAME"
        );
        assert!(text("node").starts_with("error: apps in node are not served yet\n"));
        assert!(text("custom").contains("host.json with customHandler"));
        assert!(text("cobol").contains("`cobol` is no language with a template"));
    }

    #[test]
    fn without_a_checkout_the_dependencies_are_the_published_ones() {
        let files = rendered("shop", &Origin::Registry, true);
        let manifest = &files[0].1;
        assert!(
            manifest.contains(concat!("\neverstep = \"", env!("CARGO_PKG_VERSION"), "\"")),
            "{manifest}"
        );
        assert!(manifest.contains("[workspace]"), "{manifest}");
        assert!(manifest.contains("everstep = { path = \"CHECKOUT/crates/sdk\" }"), "{manifest}");
        assert_eq!(
            Origin::Registry.told(),
            format!(
                "it needs version {VERSION} of the crates everstep and everstep-host; while they are not published, make it with --everstep-path FOLDER, which names a checkout of Everstep"
            )
        );
    }
}
