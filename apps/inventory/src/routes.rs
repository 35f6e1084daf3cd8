//! What can be asked by HTTP. Each answer is as the original program gives it, or better where that was a defect.

use std::sync::Arc;

use axum::http::{
    HeaderValue,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use everstep::{
    Client, ClientError, Failure, InstanceId, StartOptions, TypedClient as _, Value as Payload,
    View,
};
use everstep_host::{FunctionApp, Http, HttpCall, Response};
use serde_json::{Value, json};

use crate::{
    moment,
    query::{self, Question},
    request::{self, Credential},
    run,
    spool::report,
    work::Inventory,
};

/// Why a scan was terminated.
const CANCELLED: &str = "Cancelled by user request";
const PAGE: &str = include_str!("page.html");

/// Adds the routes to the app.
pub(crate) fn add(app: FunctionApp, inventory: &Arc<Inventory>) -> FunctionApp {
    // Registers a route whose code has the inventory at hand.
    macro_rules! routes {
        ($app:expr, $($name:literal $http:expr => $code:ident),+ $(,)?) => {{
            let app = $app;
            $(
                let held = Arc::clone(inventory);
                let app = app.http($name, $http, move |call| $code(Arc::clone(&held), call));
            )+
            app
        }};
    }
    routes! {
        app,
        "start_scan" Http::post("start-scan") => start_scan,
        "scan_status" Http::get("scan-status/{instance_id}") => scan_status,
        "cancel_scan" Http::post("cancel-scan/{instance_id}") => cancel_scan,
        "scan_repair" Http::post("scan-repair/{executionId}") => scan_repair,
        "inventory_progress" Http::get("inventory/progress") => progress,
        "inventory_query" Http::post("inventory/query") => query,
        "inventory_report" Http::get("inventory/report") => report_page,
    }
    .http("inventory_page", Http::get("inventory"), |_: HttpCall| async {
        Ok::<_, Failure>(html(PAGE))
    })
}

async fn start_scan(inventory: Arc<Inventory>, mut call: HttpCall) -> Result<Response, Failure> {
    let body = call.bytes().await?;
    // The invocation's id is a fresh one, which is what both ids of a scan have to be.
    let execution = call.invocation_id().to_string();
    let has_key = |account: &str| inventory.has_key(account);
    let mut request = match request::read(&body, &execution, &inventory.settings, has_key) {
        Ok(request) => request,
        Err(refusal) => return Ok(answer(400, &json!({ "error": refusal }))),
    };
    let id = InstanceId::orchestration(&execution).map_err(everstep::failure)?;
    if let Some(key) = &request.key {
        let sealed = inventory.services.secrets().seal(&id, key).await?;
        request.scan.credential = Credential::Sealed(sealed);
    }
    let account = request.scan.storage_account_name.clone();
    let options = StartOptions { id: Some(id.clone()), ..StartOptions::default() };
    call.client().run(run::MAIN, request.scan, options).await.map_err(everstep::failure)?;
    let more = json!({
        "executionId": execution,
        "startTime": moment::iso(moment::now()),
        "storageAccount": account,
    });
    Ok(with_more(call.check_status(&id), more).await)
}

/// The check-status answer with more keys behind its own.
async fn with_more(response: Response, more: Value) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let links = String::from_utf8_lossy(&bytes);
    let (links, more) = (links.trim_end().trim_end_matches('}'), more.to_string());
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, format!("{links},{}", more.trim_start_matches('{')).into())
}

async fn scan_status(_: Arc<Inventory>, call: HttpCall) -> Result<Response, Failure> {
    let asked = call.param("instance_id");
    let Some(view) = find(call.client(), asked).await? else { return Ok(unknown(asked)) };
    let output = match &view.failure {
        Some(failure) => json!(failure.message),
        None => value(view.output.as_ref()),
    };
    let status = json!({
        "instanceId": view.id.as_str(),
        "runtimeStatus": view.status.to_string(),
        "createdTime": moment::iso(view.created.millis()),
        "lastUpdatedTime": moment::iso(view.updated.millis()),
        "output": output,
        "customStatus": value(view.custom_status.as_ref()),
    });
    Ok(answer(200, &status))
}

async fn cancel_scan(_: Arc<Inventory>, call: HttpCall) -> Result<Response, Failure> {
    let asked = call.param("instance_id");
    let Some(view) = find(call.client(), asked).await? else { return Ok(unknown(asked)) };
    match call.client().terminate(&view.id, CANCELLED, true).await {
        // It has ended in the meantime, or long ago.
        Ok(()) | Err(ClientError::WrongStatus { .. }) => {}
        Err(ClientError::NotFound(_)) => return Ok(unknown(asked)),
        Err(error) => return Err(everstep::failure(error)),
    }
    let message = format!("Termination request sent for instance {asked}");
    Ok(answer(200, &json!({ "message": message })))
}

async fn scan_repair(inventory: Arc<Inventory>, call: HttpCall) -> Result<Response, Failure> {
    let execution_id = call.param("executionId").to_owned();
    let asked = execution_id.clone();
    let scan = inventory.spool.read(move |db| report::progress(db, Some(&asked))).await?;
    if scan.is_none() {
        let error = format!("Scan {execution_id} not found");
        return Ok(answer(404, &json!({ "error": error })));
    }
    let repair = run::Repair { execution_id: execution_id.clone() };
    let options = StartOptions::default();
    let repairing = call.client().run(run::REPAIR, repair, options).await;
    let repairing = repairing.map_err(everstep::failure)?;
    let response = call.check_status(repairing.id());
    Ok(with_more(response, json!({ "executionId": execution_id })).await)
}

async fn progress(inventory: Arc<Inventory>, call: HttpCall) -> Result<Response, Failure> {
    let asked = call.query("executionId");
    let found = inventory
        .spool
        .read(move |db| {
            let scan = report::progress(db, asked.as_deref())?;
            let groups = match &scan {
                Some(scan) => Some(report::groups(db, &scan.execution_id)?),
                None => None,
            };
            Ok(scan.zip(groups))
        })
        .await?;
    let Some((mut scan, groups)) = found else {
        return Ok(answer(200, &json!({ "scan": null })));
    };
    if scan.status == "running" {
        let view = find(call.client(), &scan.instance_id).await?;
        scan.status = match view {
            Some(view) if !view.status.is_terminal() => scan.status,
            Some(view) => view.status.to_string().to_lowercase(),
            None => "gone".to_owned(),
        };
    }
    Ok(answer(200, &json!({ "scan": scan, "groups": groups })))
}

/// The query is the body, or `query` in a JSON object.
async fn query(inventory: Arc<Inventory>, mut call: HttpCall) -> Result<Response, Failure> {
    let body = call.bytes().await?;
    let text = match serde_json::from_slice::<Value>(&body) {
        Ok(body) => body["query"].as_str().unwrap_or_default().to_owned(),
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    let question = match Question::parse(&text) {
        Ok(question) => question,
        Err(error) => return Ok(answer(400, &json!({ "error": error }))),
    };
    let db = inventory.open_copy().await?;
    let interrupt = db.get_interrupt_handle();
    let mut asking = tokio::task::spawn_blocking(move || question.answer(&db));
    let ended = match tokio::time::timeout(query::TIME, &mut asking).await {
        Ok(ended) => ended,
        Err(_) => {
            interrupt.interrupt();
            asking.await
        }
    };
    Ok(match ended.map_err(everstep::failure)? {
        Ok(found) => answer(200, &found.json()),
        Err(error) => answer(400, &json!({ "error": error })),
    })
}

async fn report_page(inventory: Arc<Inventory>, _: HttpCall) -> Result<Response, Failure> {
    let db = inventory.open_copy().await?;
    let page = tokio::task::spawn_blocking(move || everstep_kql::dashboard(&db)).await;
    Ok(html(page.map_err(everstep::failure)?))
}

fn html(page: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(page.into());
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

async fn find(client: Client, id: &str) -> Result<Option<View>, Failure> {
    let Ok(id) = InstanceId::orchestration(id) else { return Ok(None) };
    match client.get(&id).await {
        Ok(view) => Ok(Some(view)),
        Err(ClientError::NotFound(_)) => Ok(None),
        Err(error) => Err(everstep::failure(error)),
    }
}

fn unknown(id: &str) -> Response {
    answer(404, &json!({ "error": format!("Instance {id} not found") }))
}

/// A stored value as JSON.
fn value(stored: Option<&Payload>) -> Value {
    let bytes = stored.and_then(Payload::inline).map_or(&b""[..], |bytes| bytes);
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

fn answer(status: u16, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status.try_into().expect("it is one of HTTP's");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
