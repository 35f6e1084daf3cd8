//! Apps that cannot be started as they are, and what they lack made: each says what, where and what to write.

use crate::support::{Environment, Setup, newest};

const PLAIN: &str = r#"
import azure.functions as func

app = func.FunctionApp()


@app.route(route="ok", auth_level=func.AuthLevel.ANONYMOUS)
def ok(req: func.HttpRequest) -> str:
    return "ok"
"#;

fn setup(code: &str) -> Setup {
    Setup::empty()
        .file("host.json", r#"{ "version": "2.0" }"#)
        .file("requirements.txt", "azure-functions==1.26.0\n")
        .file("function_app.py", code)
}

#[test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
fn a_module_that_is_missing_is_named_with_what_to_do() {
    let said = setup("import a_package_of_mine\n").refused(Some(&newest()));
    for words in [
        "has no module `a_package_of_mine`",
        "add it to requirements.txt (`a-package-of-mine`, or as it is called there)",
        "bin/python -m pip install -r requirements.txt",
        "function_app.py\\\", line 1, in <module>",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("importlib"), "{said}");
}

#[test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
fn code_that_is_no_app_is_refused_with_its_place() {
    let said = setup("def broken(:\n").refused(Some(&newest()));
    assert!(said.contains("SyntaxError: invalid syntax"), "{said}");
    assert!(said.contains("function_app.py\\\", line 1"), "{said}");
    let said = setup("x = 1\n").refused(Some(&newest()));
    let words = "Could not find top level function app instances in function_app.py.";
    assert!(said.contains(words), "{said}");
    let said = setup(&format!("{PLAIN}\nother = func.FunctionApp()\n")).refused(Some(&newest()));
    assert!(said.contains("More than one function app"), "{said}");
    let setup = setup(PLAIN).setting("FUNCTIONS_WORKER_PROCESS_COUNT", "many");
    let said = setup.refused(Some(&newest()));
    let words = "the setting FUNCTIONS_WORKER_PROCESS_COUNT is `many`; write a number from 1 to 10";
    assert!(said.contains(words), "{said}");
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_function_with_an_unknown_binding_is_left_out_with_its_place() {
    let odd =
        "\n\n@app.generic_trigger(arg_name=\"x\", type=\"kafkaTriggr\")\ndef odd(x):\n    pass\n";
    let app = setup(&format!("{PLAIN}{odd}")).start(&newest());
    let line = app.logged("function `odd` is left out");
    assert!(line.contains("function_app.py:12: "), "{line}");
    assert!(line.contains("none of its bindings is a trigger"), "{line}");
    assert_eq!(app.send("GET", "/api/ok", None).await.text, "ok");
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn a_faulty_function_json_is_told_with_its_place_and_leaves_the_others_alive() {
    let app = Setup::of("v1")
        .file("Half/function.json", "{ \"bindings\": [\n")
        .file("Half/__init__.py", "def main(x):\n    return x\n")
        .start(&newest());
    let line = app.logged("function `Half` is left out");
    assert!(line.contains("Half/function.json:1:"), "{line}");
    assert_eq!(app.times_logged("`Half` cannot be loaded"), 0);
    let begun = app.send("POST", "/api/start/Flow?id=flow", None).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_eq!(app.output("flow").await[1], "HI ANN");
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_app_may_name_its_file_and_bring_its_packages_but_not_hide_those_of_its_environment() {
    let code = PLAIN.replace("import azure", "import brought\nimport azure");
    let code = code.replace("return \"ok\"", "return f\"{brought.WORD} {func.__name__}\"");
    let app = Setup::empty()
        .file("host.json", r#"{ "version": "2.0" }"#)
        .file("requirements.txt", "azure-functions\n")
        .file("main-app.py", &code)
        .file(".python_packages/lib/site-packages/brought.py", "WORD = 'brought'\n")
        .file("azure/functions.py", "raise ImportError('the wrong one')\n")
        .setting("PYTHON_SCRIPT_FILE_NAME", "main-app.py")
        .start(&newest());
    assert_eq!(app.send("GET", "/api/ok", None).await.text, "brought azure.functions");
}

#[tokio::test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
async fn an_environment_is_made_once_and_then_used_without_a_network() {
    let nobody = Environment { version: String::new(), folder: "/nowhere".into() };
    let mut app = setup(PLAIN).start(&nobody);
    assert_eq!(app.send("GET", "/api/ok", None).await.text, "ok");
    app.logged("Making ");
    app.logged("Installing the packages of requirements.txt ...");
    app.logged("Successfully installed ");
    app.kill();
    app.setup.set("PIP_NO_INDEX", "1");
    app.begin();
    assert_eq!(app.send("GET", "/api/ok", None).await.text, "ok");
    assert_eq!(app.times_logged("Installing the packages"), 1);
}

#[test]
#[ignore = "needs azure-functions-durable; cargo xtask test python"]
fn a_list_that_cannot_be_installed_leaves_nothing_and_says_why() {
    let setup = setup(PLAIN).setting("PIP_NO_INDEX", "1").setting("PIP_FIND_LINKS", "");
    let said = setup.refused(None);
    for words in [
        "No matching distribution found for azure-functions",
        "mend requirements.txt",
        "nothing is left of",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!setup.folder.path().join(".venv").exists());
}
