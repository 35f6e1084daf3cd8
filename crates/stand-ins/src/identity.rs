//! The endpoints that give tokens: App Service, the metadata service of a virtual machine, and the authority behind a
//! workload identity.
//!
//! Their requests are checked as the real ones check them; the tokens are those of [`crate::tokens`].

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use everstep_storage::account::sign;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    faults::Faults,
    server::{self, Asked, Payload, Server, Service},
    tokens,
};

const HEADER: &str = "stand-in-identity-header";
const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
const TENANT: &str = "00000000-0000-0000-0000-000000000000";
const ASSERTION: &str = "stand-in.federated.token";

/// Running endpoints. They end when this is dropped.
pub struct Identity {
    server: Server,
    state: Arc<State>,
}

struct State {
    lifetime_seconds: AtomicU64,
}

impl Identity {
    /// Serves all endpoints on one port.
    pub async fn start() -> Self {
        Self::start_at(0).await.expect("loopback has a free port")
    }

    /// Serves on a port of loopback; 0 is any free one.
    pub async fn start_at(port: u16) -> io::Result<Self> {
        let state = Arc::new(State { lifetime_seconds: AtomicU64::new(24 * 3600) });
        let server = Server::start(Arc::clone(&state), port, None).await?;
        Ok(Self { server, state })
    }

    /// How long the tokens that follow last.
    pub fn lifetime(&self, lifetime: Duration) {
        self.state.lifetime_seconds.store(lifetime.as_secs(), Ordering::Relaxed);
    }

    /// The settings of an app on App Service, Functions or Container Apps.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let endpoint = format!("{}/msi/token", self.server.url());
        vec![("IDENTITY_ENDPOINT", endpoint), ("IDENTITY_HEADER", HEADER.to_owned())]
    }

    /// The settings of an app on a virtual machine, its metadata service moved here.
    pub fn machine_settings(&self) -> Vec<(&'static str, String)> {
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.server.url())]
    }

    /// The settings of an app in a cluster, with the file that its token stands in.
    pub fn workload_settings(&self, folder: &Path) -> io::Result<Vec<(&'static str, String)>> {
        let file = folder.join("federated-token");
        std::fs::write(&file, ASSERTION)?;
        Ok(vec![
            ("AZURE_FEDERATED_TOKEN_FILE", file.display().to_string()),
            ("AZURE_CLIENT_ID", CLIENT.to_owned()),
            ("AZURE_TENANT_ID", TENANT.to_owned()),
            ("AZURE_AUTHORITY_HOST", self.server.url()),
        ])
    }

    /// What fails. Operations are `AppServiceToken`, `MachineToken`, `WorkloadToken`.
    pub fn faults(&self) -> &Faults {
        &self.server.faults
    }

    /// How often an operation was asked for.
    pub fn calls(&self, operation: &str) -> u64 {
        self.server.calls(operation)
    }
}

impl Service for State {
    fn operation(&self, asked: &Asked) -> &'static str {
        match asked.path.as_str() {
            "/msi/token" => "AppServiceToken",
            // A request without the header only finds out whether the service is there.
            "/metadata/identity/oauth2/token" if asked.header("metadata").is_none() => {
                "MachineProbe"
            }
            "/metadata/identity/oauth2/token" => "MachineToken",
            path if path.ends_with("/oauth2/v2.0/token") => "WorkloadToken",
            _ => "Unknown",
        }
    }

    fn answer(&self, asked: &Asked) -> Response<Payload> {
        let given = match self.operation(asked) {
            "AppServiceToken" => self.app_service(asked),
            "MachineToken" => self.machine(asked),
            "WorkloadToken" => self.workload(asked),
            "MachineProbe" => Err("Required metadata header not specified"),
            _ => Err("there is no such endpoint"),
        };
        given.unwrap_or_else(|problem| {
            self.refusal(StatusCode::BAD_REQUEST, "invalid_request", problem)
        })
    }

    fn refusal(&self, status: StatusCode, code: &str, message: &str) -> Response<Payload> {
        server::json(status, &json!({"error": code, "error_description": message}))
    }
}

impl State {
    fn app_service(&self, asked: &Asked) -> Result<Response<Payload>, &'static str> {
        if asked.header("x-identity-header") != Some(HEADER) {
            return Err("the header X-IDENTITY-HEADER is missing or wrong");
        }
        if asked.parameter("api-version") != Some("2019-08-01") {
            return Err("the api-version is not known");
        }
        let resource = asked.parameter("resource").ok_or("the resource is missing")?;
        Ok(self.token(resource, asked.parameter("client_id")))
    }

    fn machine(&self, asked: &Asked) -> Result<Response<Payload>, &'static str> {
        if asked.header("metadata") != Some("true") {
            return Err("Required metadata header not specified");
        }
        if asked.parameter("api-version").is_none() {
            return Err("the api-version is missing");
        }
        let resource = asked.parameter("resource").ok_or("the resource is missing")?;
        Ok(self.token(resource, asked.parameter("client_id")))
    }

    fn workload(&self, asked: &Asked) -> Result<Response<Payload>, &'static str> {
        let body = String::from_utf8_lossy(&asked.body).replace('+', "%20");
        let form = sign::decode_query(&body);
        let field = |name: &str| {
            let found = form.iter().find(|(key, _)| key == name);
            found.map_or("", |(_, value)| value.as_str())
        };
        let is_right = asked.method == Method::POST
            && asked.path == format!("/{TENANT}/oauth2/v2.0/token")
            && field("grant_type") == "client_credentials"
            && field("client_assertion_type")
                == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            && field("client_assertion") == ASSERTION
            && field("client_id") == CLIENT;
        if !is_right {
            return Err("AADSTS700213: the assertion, the client or the tenant is not known");
        }
        let resource = field("scope").strip_suffix("/.default").ok_or("the scope is missing")?;
        Ok(self.token(resource, None))
    }

    fn token(&self, resource: &str, client: Option<&str>) -> Response<Payload> {
        let lifetime = self.lifetime_seconds.load(Ordering::Relaxed);
        let expires = Timestamp::now().as_second() + i64::try_from(lifetime).unwrap_or(0);
        let answer = json!({
            "access_token": tokens::mint_until(resource, expires),
            "client_id": client.unwrap_or(CLIENT),
            "expires_in": lifetime.to_string(),
            "expires_on": expires.to_string(),
            "resource": resource,
            "token_type": "Bearer",
        });
        server::json(StatusCode::OK, &answer)
    }
}
