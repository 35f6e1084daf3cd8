//! What function code in another language gets for its durable client binding.

use http::request::Parts;
use serde::Serialize;

use crate::{
    Api, OnFailure,
    links::{Links, Rewind, Root},
};

/// Stands for an instance's id in links; the SDK puts the id there.
const PLACEHOLDER: &str = "INSTANCEID";

/// How the worker of a language reaches the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rpc {
    /// Through [`Api::rpc_router`], whose URL this is, with a slash at the end.
    Http(String),
    /// Through gRPC at this URL.
    Grpc(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Creation {
    create_new_instance_post_uri: String,
    create_and_wait_on_new_instance_post_uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpBinding<'a> {
    task_hub_name: &'a str,
    creation_urls: Creation,
    management_urls: Links,
    base_url: &'a str,
    required_query_string_parameters: &'a str,
    rpc_base_url: &'a str,
    connection_name: Option<&'a str>,
    http_base_url: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GrpcBinding<'a> {
    task_hub_name: &'a str,
    connection_name: &'a str,
    rpc_base_url: &'a str,
    required_query_string_parameters: &'a str,
    http_base_url: &'a str,
}

impl Api {
    /// Where instances are started.
    pub fn creation_payload(&self, request: Option<&Parts>) -> serde_json::Value {
        serde_json::to_value(self.creation(&self.root(request))).expect("links are texts")
    }

    /// The value of a `durableClient` binding: a JSON text.
    pub fn client_binding(&self, rpc: &Rpc) -> String {
        let root = self.root(None);
        let code = self.code().unwrap_or_default();
        match rpc {
            Rpc::Http(url) => crate::json::to_text(&HttpBinding {
                task_hub_name: &self.options.hub,
                creation_urls: self.creation(&root),
                management_urls: Links::new(&root, PLACEHOLDER, Rewind::Shown, OnFailure::Ok),
                base_url: &root.base,
                required_query_string_parameters: &code,
                rpc_base_url: url,
                connection_name: None,
                http_base_url: None,
            }),
            Rpc::Grpc(url) => crate::json::to_text(&GrpcBinding {
                task_hub_name: &self.options.hub,
                connection_name: &self.options.connection,
                rpc_base_url: url,
                required_query_string_parameters: &code,
                http_base_url: &root.base,
            }),
        }
    }

    fn creation(&self, root: &Root) -> Creation {
        let start = format!("{}/orchestrators/{{functionName}}[/{{instanceId}}]", root.base);
        let wait = "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}";
        let (alone, with_wait) = match self.code() {
            Some(code) => (format!("?{code}"), format!("?{wait}&{code}")),
            None => (String::new(), format!("?{wait}")),
        };
        Creation {
            create_new_instance_post_uri: format!("{start}{alone}"),
            create_and_wait_on_new_instance_post_uri: format!("{start}{with_wait}"),
        }
    }
}
