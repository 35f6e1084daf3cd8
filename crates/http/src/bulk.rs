//! One verb for all instances that match: a job of its own, which goes on whatever becomes of the request.

use everstep_model::Kind;
use everstep_runtime::Bulk;

use crate::{
    OnFailure,
    api::Call,
    error::{Answer, Refusal},
    select::Selection,
};

/// `POST instances/bulk/{verb}`
pub(crate) async fn bulk(call: Call) -> Answer {
    let reason = call.query.text("reason").map(std::borrow::Cow::into_owned).unwrap_or_default();
    let verb = match call.segment(0).to_ascii_lowercase().as_str() {
        "terminate" => Bulk::Terminate(reason),
        "suspend" => Bulk::Suspend(reason),
        "resume" => Bulk::Resume(reason),
        "rewind" => Bulk::Rewind(reason),
        "purge" => Bulk::Purge,
        _ => return Err(Refusal::NOT_FOUND),
    };
    let mut selection = Selection::of(&call.query, call.api.options.compat)?;
    if !selection.is_narrowed() && !call.query.our_flag("all", false)? {
        return Err(Refusal::bad(
            "this would concern every instance of the hub; add a filter such as `name` or `status`, or `all=true`",
        ));
    }
    if selection.filter.kind == Some(Kind::Entity) {
        return Err(Refusal::parameter("kind", "entity", "these verbs are for orchestrations"));
    }
    selection.filter.kind = Some(Kind::Orchestration);
    if verb == Bulk::Purge {
        selection = selection.ended();
    }
    if selection.is_empty {
        return Err(Refusal::bad(
            "no instance can match this filter; name statuses that instances have, and for `purge` ones that are an end",
        ));
    }
    let job = call.api.client().start_bulk(&selection.filter, &verb).await?;
    Ok(call.check_status(job.as_str(), OnFailure::Ok))
}
