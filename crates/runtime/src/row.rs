//! Instances as rows, and back.
//!
//! A row's columns are for queries; what a turn needs besides them lies in its `live` blob. Values stand in the columns
//! only, not in the blob as well.

use everstep_engine::Instance;
use everstep_model::Kind;
use everstep_store::{Row, Wake};

/// The row of an instance.
pub(crate) fn row(instance: &Instance) -> Row {
    Row { live: instance.encode_live().into(), ..shown(instance) }
}

/// The row as lists show it, without its `live` blob.
pub(crate) fn shown(instance: &Instance) -> Row {
    let is_entity = instance.id.kind() == Kind::Entity;
    Row {
        iid: instance.iid,
        id: instance.id.clone(),
        execution: instance.execution,
        execution_id: instance.execution_id.clone(),
        name: instance.name.clone(),
        version: instance.rare.version.clone(),
        status: instance.status,
        created: instance.created,
        updated: instance.updated,
        completed: instance.completed,
        parent: instance.rare.parent.as_ref().map(|parent| parent.instance.clone()),
        tags: instance.rare.tags.clone(),
        wake: wake(instance),
        input: (!is_entity).then(|| instance.input.clone()),
        output: if is_entity { instance.rare.state.clone() } else { instance.output.clone() },
        custom_status: instance.rare.custom_status.clone(),
        failure: instance.rare.failure.clone(),
        live: bytes::Bytes::new(),
    }
}

/// The instance of a row.
///
/// # Panics
/// When the `live` blob is not one of ours: the tables are damaged beyond what their checks find.
pub(crate) fn instance(row: &Row) -> Instance {
    let mut instance =
        Instance::decode_live(row.iid, row.id.clone(), &row.live).unwrap_or_else(|error| {
            panic!("the row of `{}` cannot be read ({error}); the tables are damaged", row.id)
        });
    instance.execution = row.execution;
    instance.execution_id = row.execution_id.clone();
    instance.name.clone_from(&row.name);
    instance.status = row.status;
    instance.created = row.created;
    instance.updated = row.updated;
    instance.completed = row.completed;
    let rare = &mut instance.rare;
    rare.version.clone_from(&row.version);
    rare.tags.clone_from(&row.tags);
    rare.custom_status.clone_from(&row.custom_status);
    rare.failure.clone_from(&row.failure);
    match row.id.kind() {
        Kind::Entity => rare.state.clone_from(&row.output),
        Kind::Orchestration => {
            instance.output.clone_from(&row.output);
            instance.input = row.input.clone().unwrap_or_else(everstep_model::Value::empty);
        }
    }
    instance.rare.settle();
    instance
}

fn wake(instance: &Instance) -> Wake {
    let outstanding = match instance.id.kind() {
        Kind::Orchestration => instance.has_outstanding(),
        Kind::Entity => !instance.inbox.is_empty(),
    };
    match instance.next_due() {
        _ if outstanding => Wake::Now,
        Some(at) => Wake::At(at),
        None => Wake::Never,
    }
}
