#![doc = include_str!("../README.md")]

use everstep::{
    Activity, ActivityContext, App, Context, Failure, InstanceId, StartOptions, Value, orchestrator,
};
use everstep_host::{FunctionApp, Http, HttpCall, Response, Services};

const SAY_HELLO: Activity<(), String> = Activity::new("say_hello");
const ORCHESTRATOR: &str = "hello_orchestrator";

/// The app.
pub fn app(services: &Services) -> FunctionApp {
    let environment = services.setting("ENV").map_or_else(|| "None".to_owned(), str::to_owned);
    let durable = App::new(env!("CARGO_PKG_VERSION"))
        .activity(SAY_HELLO, move |_: ActivityContext, (): ()| {
            let text = greeting(&environment);
            async move { Ok::<_, Failure>(text) }
        })
        .add(hello_orchestrator);
    FunctionApp::new(durable).http(
        "http_start",
        Http::any("orchestrators/{functionName}").anonymous(),
        http_start,
    )
}

#[orchestrator]
async fn hello_orchestrator(ctx: Context, (): ()) -> Result<String, Failure> {
    ctx.call(SAY_HELLO, ()).await
}

async fn http_start(call: HttpCall) -> Result<Response, Failure> {
    let name = call.param("functionName");
    if !name.eq_ignore_ascii_case(ORCHESTRATOR) {
        let text = format!("there is no orchestrator `{name}`; the one there is: {ORCHESTRATOR}");
        return Ok(everstep_host::refusal(404, &text));
    }
    let options = StartOptions::default();
    let id: InstanceId = call
        .client()
        .start(ORCHESTRATOR, Value::empty(), options)
        .await
        .map_err(everstep::failure)?;
    Ok(call.check_status(&id))
}

fn greeting(environment: &str) -> String {
    let (system, linkage) = match std::env::consts::OS {
        "linux" => ("Linux", "ELF"),
        "windows" => ("Windows", "WindowsPE"),
        "macos" => ("Darwin", ""),
        other => (other, ""),
    };
    let bits = usize::BITS;
    format!(
        "Hello World! from {system} operating system on {bits}bit {linkage} architecture in {environment} enviroment"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_greeting_says_where_it_runs() {
        assert_eq!(
            greeting("local-docker"),
            "Hello World! from Linux operating system on 64bit ELF architecture in local-docker enviroment"
        );
    }
}
