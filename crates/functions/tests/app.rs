//! The files of an app, from the folder to the table of its routes.

use std::{fs, path::Path};

use everstep_functions::{
    config::{
        HostConfig, Settings,
        binding::{self, AuthLevel, Trigger},
        function_json, read,
        settings::{self, Added, LocalSettings, Stage},
    },
    keys::{Key, KeyRing, Scope},
    route::{Route, Table},
};
use http::Method;

/// An app with an HTTP function, an orchestrator, a timer whose setting is missing and a function that is switched off.
fn app(root: &Path) {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("the path has a folder"))
            .expect("a folder for tests can be made");
        fs::write(path, text).expect("a file for tests can be written");
    };
    write(
        "host.json",
        r#"{
            "version": "2.0", // the only one
            "functionTimeout": "00:10:00",
            "extensions": { "http": { "routePrefix": "v1" }, "durableTask": { "hubName": "%HUB%" } },
        }"#,
    );
    write(
        "local.settings.json",
        r#"{ "IsEncrypted": false, "Values": { "HUB": "Orders", "AzureWebJobs.Old.Disabled": "true" } }"#,
    );
    write(
        "Start/function.json",
        r#"{ "bindings": [
            { "type": "httpTrigger", "direction": "in", "name": "req", "methods": ["post"], "route": "orders/{id:int?}" },
            { "type": "http", "direction": "out", "name": "$return" },
            { "type": "durableClient", "direction": "in", "name": "client" }
        ] }"#,
    );
    write(
        "Checkout/function.json",
        r#"{ "bindings": [{ "type": "orchestrationTrigger", "name": "context" }] }"#,
    );
    write(
        "Nightly/function.json",
        r#"{ "bindings": [{ "type": "timerTrigger", "name": "timer", "schedule": "%WHEN%" }] }"#,
    );
    write(
        "Old/function.json",
        r#"{ "bindings": [{ "type": "httpTrigger", "name": "req", "authLevel": "admin" }] }"#,
    );
}

fn settings_of(root: &Path) -> Settings {
    let file = root.join(settings::FILE);
    let text = read(&file).expect("the file can be read").expect("the app has the file");
    let local = LocalSettings::parse(settings::FILE, &text).expect("the file is correct");
    let added = Added { host_name: "localhost:7071", script_root: root, stage: Stage::Development };
    Settings::new([], &local, &added).0
}

#[test]
fn an_app_is_read_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    app(folder.path());
    let settings = settings_of(folder.path());

    let text = read(&folder.path().join("host.json")).unwrap();
    let config = HostConfig::read("host.json", text.as_deref(), &settings, 2).unwrap();
    assert_eq!(config.durable_task.hub_name, "Orders");
    assert_eq!(config.notices, []);

    let loaded = function_json::load(folder.path(), &settings).unwrap();
    assert_eq!(loaded.failed, []);
    let bound: Vec<_> =
        loaded.functions.iter().map(|function| binding::bind(function, &settings)).collect();
    let errors: Vec<_> =
        bound.iter().filter_map(|bound| bound.as_ref().err().map(ToString::to_string)).collect();
    assert_eq!(
        errors,
        [
            "function `Nightly`, binding `timer` (timerTrigger): `schedule` is \"%WHEN%\"; '%WHEN%' does not resolve to a value; \
          add `WHEN` to `Values` in local.settings.json or to the environment"
        ]
    );
    let running: Vec<_> = bound.into_iter().flatten().filter(|bound| !bound.disabled).collect();
    let kinds: Vec<_> =
        running.iter().map(|bound| (bound.name.as_str(), bound.trigger.kind())).collect();
    assert_eq!(kinds, [("Checkout", "orchestrationTrigger"), ("Start", "httpTrigger")]);

    let routes = running.iter().filter_map(|bound| match &bound.trigger {
        Trigger::Http(http) => Some(Route {
            function: bound.name.clone(),
            template: http.route.clone(),
            methods: http.methods.clone(),
        }),
        _ => None,
    });
    let (table, conflicts) = Table::new(&config.http.route_prefix, routes);
    assert_eq!(conflicts, []);
    let found = table.find(&Method::POST, "/v1/orders/7").unwrap();
    assert_eq!((found.function, found.parameters["id"].as_str()), ("Start", Some("7")));
    assert_eq!(table.find(&Method::GET, "/v1/orders/7"), None);
}

#[test]
fn a_function_is_called_with_its_key() {
    let mut ring = KeyRing::random().unwrap();
    ring.put(Scope::Function("Start"), "default", Key::new("s3cret").unwrap()).unwrap();
    let ring = KeyRing::from_json(&ring.to_json()).unwrap();
    assert!(ring.allows(AuthLevel::Function, "start", Some("s3cret")));
    assert!(!ring.allows(AuthLevel::Function, "Other", Some("s3cret")));
    assert!(ring.allows(AuthLevel::Admin, "Other", Some(ring.master().as_str())));
}
