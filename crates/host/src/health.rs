//! Asking an app that runs for its health: what a container's health check calls, in an image without any other program.

use std::{io::Write as _, process::ExitCode, time::Duration};

/// A host that does not answer in this time is not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the host at a URL whether it is ready for work, and says what it answers.
pub(crate) fn ask(url: &str) -> ExitCode {
    let said = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(answer(url)),
        Err(error) => Err(error.to_string()),
    };
    let (text, code) = match said {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(text) => (format!("error: {text}"), ExitCode::FAILURE),
    };
    drop(writeln!(std::io::stderr().lock(), "{text}"));
    code
}

async fn answer(url: &str) -> Result<String, String> {
    let asked = format!("{}/health/ready", url.trim_end_matches('/'));
    let text = |error: reqwest::Error| format!("{asked} does not answer: {error}");
    let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(text)?;
    let response = client.get(&asked).send().await.map_err(text)?;
    let status = response.status();
    let body = response.text().await.map_err(text)?;
    if status.is_success() { Ok(body) } else { Err(format!("{asked} answers {status}: {body}")) }
}
