//! Who may use whom. The table is the architecture; ARCHITECTURE.md says why each absence is there.

use crate::{
    tidy::{
        Complaint,
        manifest::{self, Dependency, Manifest, Use},
    },
    tree::Tree,
};

/// What one crate may use.
struct Arrows {
    /// The folder in `crates/`.
    folder: &'static str,
    /// Packages of ours that its code may use.
    code: &'static [&'static str],
    /// Further packages of ours that its tests may use.
    tests: &'static [&'static str],
}

const fn arrows(
    folder: &'static str,
    code: &'static [&'static str],
    tests: &'static [&'static str],
) -> Arrows {
    Arrows { folder, code, tests }
}

const AZURE: &str = "everstep-azure";
const ENGINE: &str = "everstep-engine";
const FUNCTIONS: &str = "everstep-functions";
const HOST: &str = "everstep-host";
const HTTP: &str = "everstep-http";
const MODEL: &str = "everstep-model";
const MACROS: &str = "everstep-sdk-macros";
const PYTHON: &str = "everstep-python";
const RUNTIME: &str = "everstep-runtime";
const SDK: &str = "everstep";
const SQL: &str = "everstep-sql";
const STAND_INS: &str = "everstep-stand-ins";
const STORAGE: &str = "everstep-storage";
const STORE: &str = "everstep-store";
const EMBEDDED: &str = "everstep-store-embedded";
const MEMORY: &str = "everstep-store-memory";
const WORKER: &str = "everstep-worker";

const EVERYTHING_BELOW: &[&str] = &[ENGINE, MODEL, RUNTIME, SDK, STORE, EMBEDDED, MEMORY, WORKER];

/// One line for each crate, lower ones first.
const ARROWS: [Arrows; 22] = [
    arrows("model", &[], &[]),
    arrows("engine", &[MODEL], &[]),
    arrows("store", &[MODEL], &[]),
    arrows("worker", &[MODEL], &[]),
    arrows("store-memory", &[STORE, MODEL], &[]),
    arrows("store-embedded", &[STORE, MODEL], &[MEMORY]),
    arrows("runtime", &[ENGINE, STORE, WORKER, MODEL], &[MEMORY, EMBEDDED]),
    arrows("sdk-macros", &[], &[SDK]),
    arrows("sdk", &[ENGINE, WORKER, MODEL, MACROS, RUNTIME, STORE, MEMORY, EMBEDDED], &[]),
    arrows("http", &[RUNTIME, STORE, WORKER, MODEL], &[SDK, MEMORY]),
    arrows("functions", &[WORKER, MODEL], &[]),
    arrows("python", &[FUNCTIONS, WORKER, MODEL], &[]),
    arrows("storage", &[], &[]),
    arrows("kql", &[], &[]),
    arrows("azure", &[STORAGE], &[STAND_INS]),
    arrows("stand-ins", &[STORAGE], &[]),
    arrows("sql", &[ENGINE, STORE, MODEL], &[EMBEDDED, RUNTIME, WORKER]),
    arrows(
        "host",
        &[
            AZURE, SDK, FUNCTIONS, HTTP, PYTHON, SQL, STORAGE, RUNTIME, WORKER, STORE, EMBEDDED,
            MODEL,
        ],
        &[MEMORY, STAND_INS],
    ),
    arrows("cli", &[HOST, FUNCTIONS], &[SDK]),
    arrows("sim", EVERYTHING_BELOW, &[]),
    arrows("bench", EVERYTHING_BELOW, &[]),
    arrows("bench-http", &[SDK, HOST], &[]),
];

/// Crates that neither wait, read a clock, draw a number nor touch a file.
const PURE: [&str; 2] = ["model", "engine"];

/// What a pure crate's code has no use for.
const IMPURE: [&str; 6] = ["getrandom", "rusqlite", "rustix", "tempfile", "tokio", "tracing"];

pub(crate) fn check(tree: &Tree) -> Vec<Complaint> {
    tree.crates().flat_map(|manifest| check_crate(tree, &manifest)).collect()
}

fn check_crate(tree: &Tree, manifest: &Manifest<'_>) -> Vec<Complaint> {
    let folder = manifest.folder;
    let Some(arrows) = ARROWS.iter().find(|arrows| arrows.folder == folder) else {
        let remedy =
            format!("say whom `{folder}` may use, in the table of xtask/src/tidy/arrows.rs");
        return vec![Complaint::file(manifest.path, remedy)];
    };
    let mut complaints: Vec<Complaint> = manifest::dependencies(manifest.text)
        .iter()
        .filter_map(|dependency| {
            Some(Complaint::file(manifest.path, objection(tree, arrows, dependency)?))
        })
        .collect();
    if tree
        .text("ARCHITECTURE.md")
        .is_some_and(|text| !text.contains(&format!("`crates/{folder}`")))
    {
        complaints.push(Complaint::file(
            "ARCHITECTURE.md",
            format!("the table of crates lacks `crates/{folder}`"),
        ));
    }
    complaints
}

fn objection(tree: &Tree, arrows: &Arrows, dependency: &Dependency<'_>) -> Option<String> {
    let Arrows { folder, code, tests } = arrows;
    let name = dependency.name;
    if PURE.contains(folder) && dependency.used_by == Use::Code && IMPURE.contains(&name) {
        return Some(format!(
            "`{folder}` is pure and must not use `{name}`; take what it gives as an argument"
        ));
    }
    let is_ours = tree.crates().any(|other| manifest::package_name(other.text) == Some(name));
    let own_name =
        tree.text(&format!("crates/{folder}/Cargo.toml")).and_then(manifest::package_name);
    let allowed = own_name == Some(name)
        || code.contains(&name)
        || (dependency.used_by == Use::Tests && tests.contains(&name));
    (is_ours && !allowed).then(|| {
        format!("`{folder}` must not use `{name}`; move what it needs down, or hand it in (ARCHITECTURE.md, who may use whom)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::complaints;

    const MODEL_TOML: (&str, &str) = ("crates/model/Cargo.toml", "name = \"everstep-model\"\n");
    const STORE_TOML: (&str, &str) = ("crates/store/Cargo.toml", "name = \"everstep-store\"\n");

    #[test]
    fn the_engine_may_use_the_model_but_no_store() {
        let text = "name = \"everstep-engine\"\n[dependencies]\neverstep-model.workspace = true\neverstep-store.workspace = true\n";
        assert_eq!(
            complaints(check, &[MODEL_TOML, STORE_TOML, ("crates/engine/Cargo.toml", text)]),
            [
                "crates/engine/Cargo.toml: `engine` must not use `everstep-store`; move what it needs down, or hand it in (ARCHITECTURE.md, who may use whom)"
            ]
        );
    }

    #[test]
    fn tests_of_the_embedded_store_may_use_the_one_in_memory_and_its_code_may_not() {
        let memory = ("crates/store-memory/Cargo.toml", "name = \"everstep-store-memory\"\n");
        let in_tests = "name = \"everstep-store-embedded\"\n[dev-dependencies]\neverstep-store-memory.workspace = true\n";
        assert!(
            complaints(check, &[memory, ("crates/store-embedded/Cargo.toml", in_tests)]).is_empty()
        );
        let in_code = in_tests.replace("dev-dependencies", "dependencies");
        assert_eq!(
            complaints(check, &[memory, ("crates/store-embedded/Cargo.toml", &in_code)]).len(),
            1
        );
    }

    #[test]
    fn a_crate_may_use_itself_in_its_tests() {
        let text =
            "name = \"everstep-model\"\n[dev-dependencies]\neverstep-model = { path = \".\" }\n";
        assert!(complaints(check, &[("crates/model/Cargo.toml", text)]).is_empty());
    }

    #[test]
    fn the_engine_has_no_clock_and_no_runtime() {
        let text = "name = \"everstep-engine\"\n[dependencies]\ntokio.workspace = true\n";
        assert_eq!(
            complaints(check, &[("crates/engine/Cargo.toml", text)]),
            [
                "crates/engine/Cargo.toml: `engine` is pure and must not use `tokio`; take what it gives as an argument"
            ]
        );
    }

    #[test]
    fn a_new_crate_needs_its_arrows_and_its_line_in_the_architecture() {
        let new = ("crates/grpc/Cargo.toml", "name = \"everstep-grpc\"\n");
        assert_eq!(
            complaints(check, &[new]),
            [
                "crates/grpc/Cargo.toml: say whom `grpc` may use, in the table of xtask/src/tidy/arrows.rs"
            ]
        );
        assert_eq!(
            complaints(check, &[MODEL_TOML, ("ARCHITECTURE.md", "# Architecture\n")]),
            ["ARCHITECTURE.md: the table of crates lacks `crates/model`"]
        );
    }
}
