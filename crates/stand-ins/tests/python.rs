//! The stand-ins read and written by Microsoft's own Python clients, so that they are a fair judge of ours.
//!
//! The interpreter is the one that `EVERSTEP_PYTHON` names, or `python3`; it needs the packages `azure-storage-file-share`,
//! `azure-monitor-ingestion` and `azure-identity`.

use std::process::Command;

use everstep_stand_ins::{
    Fault, Rule, Transport,
    files::{Files, FilesOptions},
    identity::Identity,
    logs::{Logs, LogsOptions, RULE},
    tree::{Content, Generated, Share, Tree},
};

/// Runs a script with settings; its last line has to say that all is well.
async fn run(script: &str, settings: Vec<(&'static str, String)>) {
    let path = format!("{}/tests/python/{script}", env!("CARGO_MANIFEST_DIR"));
    let ran = tokio::task::spawn_blocking(move || {
        let python = std::env::var("EVERSTEP_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        Command::new(python).arg(path).envs(settings).output().expect("Python starts")
    });
    let ran = ran.await.expect("nothing panics there");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.ends_with("all as expected\n"), "{out}\n{err}");
}

fn tree() -> Tree {
    let odd = Share::built()
        .file("100%.txt", Content::Generated { seed: 9, size: 9_000_001 })
        .file("a#b c.txt", "")
        .file("in ї #1/deep & <odd>.txt", "hello")
        .file("z\u{fffe}.txt", "strange");
    Tree::new().share("odd", odd).share("flat", Share::generated(Generated::flat(2_500)))
}

/// Computed once from the generator's bytes by another program.
const LARGE_MD5: &str = "ae71d1f61a8e04fda48ffcbc83dacbc6";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the Python package azure-storage-file-share"]
async fn the_official_client_of_file_shares_reads_the_stand_in() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Files::start(tree()).await;
    let options = FilesOptions { transport: Transport::Tls, ..FilesOptions::default() };
    let secure = Files::start_with(tree(), options).await.unwrap();
    let identity = Identity::start().await;
    let certificate = folder.path().join("files.pem");
    std::fs::write(&certificate, secure.certificate().unwrap()).unwrap();
    // The client repeats what it calls worth it.
    plain.faults().add(Rule::new(Fault::busy(0)).on("ListDirectory"));
    plain.faults().add(Rule::new(Fault::Cut).on("GetFile"));
    let mut settings = vec![
        ("FILES_URL", plain.url()),
        ("FILES_ACCOUNT", plain.account().to_owned()),
        ("FILES_KEY", plain.key().to_owned()),
        ("FILES_TLS_URL", secure.url()),
        ("FILES_CERTIFICATE", certificate.display().to_string()),
        ("LARGE_MD5", LARGE_MD5.to_owned()),
    ];
    settings.extend(identity.settings());
    run("files.py", settings).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the Python package azure-monitor-ingestion"]
async fn the_official_client_of_log_uploads_writes_to_the_stand_in() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogsOptions { transport: Transport::Tls, ..LogsOptions::default() };
    let logs = Logs::start_with(options).await.unwrap();
    let identity = Identity::start().await;
    let certificate = folder.path().join("logs.pem");
    std::fs::write(&certificate, logs.certificate().unwrap()).unwrap();
    logs.faults().add(Rule::new(Fault::throttle(0)).on("Upload"));
    let mut settings = vec![
        ("LOGS_URL", logs.url()),
        ("LOGS_RULE", RULE.to_owned()),
        ("LOGS_STREAM", "Custom-FileInventory_CL".to_owned()),
        ("LOGS_CERTIFICATE", certificate.display().to_string()),
    ];
    settings.extend(identity.settings());
    run("logs.py", settings).await;
    let rows = logs.rows("FileInventory_CL");
    assert_eq!(rows.len(), 1_500);
    assert_eq!(rows[7]["FileName"], "ї".repeat(1_000));
    assert!(!rows[7].contains_key("Unknown"));
    // Throttled once, three parts, three refusals.
    assert!(logs.calls("Upload") >= 6);
}
