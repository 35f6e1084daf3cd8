//! The views: what can be queried, column by column.
//!
//! J1  The columns are a promise. They are described in `docs/sql.md`; a test compares.
//! J2  Each view is a union of two arms, over the rows of the tables and over those of the overlay, so that a condition
//!     reaches the indexes of both.
//! J3  A row that is being deleted, that the overlay purged, or that the overlay has in a newer version is not in the
//!     first arm; chunks of purged executions are nowhere.
//! J4  A status is found by joining its name, so that a condition on it uses the index.
//!
//! `cross join` keeps the order: first the rows, then what is decoded of each.

/// A view that can be queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// Its columns, in order: the name, and where it comes from.
    columns: &'static [(&'static str, &'static str)],
    /// What an arm reads besides the row `r`, and its conditions.
    arms: &'static [(&'static str, &'static str)],
}

impl View {
    /// The names of its columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|(name, _)| *name)
    }
}

/// The lines of a row's history; `{chunks}` differs by arm.
const LINES: &str = "cross join json_each((select everstep_history({chunks})) e";

const RAISED: &str = "cross join json_each((select everstep_raised({chunks})) e";

const CALLS: &str = "cross join json_each((select everstep_activities(r.live, {chunks})) e";

/// All that can be queried.
pub const VIEWS: [View; 6] = [
    View {
        name: "instances",
        columns: &[
            ("instance", "r.id"),
            ("kind", "case r.kind when 1 then 'entity' else 'orchestration' end"),
            ("name", "r.name"),
            ("version", "nullif(r.version, '')"),
            ("status", "s.name"),
            ("created", "everstep_time(r.created)"),
            ("updated", "everstep_time(r.updated)"),
            ("completed", "everstep_time(r.completed)"),
            ("parent", "r.parent"),
            ("execution", "r.execution"),
            ("execution_id", "r.execution_id"),
            ("tags", "r.tags"),
            ("input", "{value:input}"),
            ("output", "{value:output}"),
            ("custom_status", "{value:custom_status}"),
            ("failure_type", "r.failure ->> '$[0].kind'"),
            ("failure_message", "r.failure ->> '$[0].message'"),
            ("failure", "r.failure"),
            ("waiting_for", "case when r.completed is null then everstep_waiting_for(r.live) end"),
            ("parked", "everstep_parked(r.live)"),
            ("created_ticks", "r.created"),
            ("updated_ticks", "r.updated"),
            ("completed_ticks", "r.completed"),
        ],
        arms: &[("join temp.everstep_status s on s.number = r.status", "true")],
    },
    View {
        name: "history",
        columns: &[
            ("instance", "r.id"),
            ("execution", "e.value ->> 'execution'"),
            ("seq", "e.value ->> 'seq'"),
            ("event", "e.value ->> 'event'"),
            ("event_id", "e.value ->> 'event_id'"),
            ("answers", "e.value ->> 'answers'"),
            ("at", "e.value ->> 'at'"),
            ("name", "e.value ->> 'name'"),
            ("target", "e.value ->> 'target'"),
            ("input", "{line:input}"),
            ("output", "{line:output}"),
            ("failure_type", "e.value ->> 'failure_type'"),
            ("failure_message", "e.value ->> 'failure_message'"),
            ("failure", "e.value ->> 'failure'"),
            ("attempt", "e.value ->> 'attempt'"),
            ("due", "e.value ->> 'due'"),
            ("key", "e.value ->> 'key'"),
            ("reason", "e.value ->> 'reason'"),
        ],
        arms: &[(LINES, "r.kind = 0")],
    },
    View {
        name: "activities",
        columns: &[
            ("instance", "r.id"),
            ("execution", "e.value ->> 'execution'"),
            ("event_id", "e.value ->> 'event_id'"),
            ("name", "e.value ->> 'name'"),
            ("attempt", "e.value ->> 'attempt'"),
            ("state", "e.value ->> 'state'"),
            ("scheduled_at", "e.value ->> 'scheduled_at'"),
            ("ended_at", "e.value ->> 'ended_at'"),
            ("input", "{line:input}"),
            ("output", "{line:output}"),
            ("failure_type", "e.value ->> 'failure_type'"),
            ("failure_message", "e.value ->> 'failure_message'"),
            ("failure", "e.value ->> 'failure'"),
        ],
        arms: &[(CALLS, "r.kind = 0")],
    },
    View {
        name: "timers",
        columns: &[
            ("instance", "r.id"),
            ("name", "r.name"),
            ("execution", "r.execution"),
            ("event_id", "e.value ->> 'event_id'"),
            ("fire_at", "e.value ->> 'fire_at'"),
            ("created_at", "e.value ->> 'created_at'"),
            ("attempt", "e.value ->> 'attempt'"),
        ],
        arms: &[(
            "cross join json_each(everstep_timers(r.live)) e",
            "r.wake is not null and r.kind = 0",
        )],
    },
    View {
        name: "events",
        columns: &[
            ("instance", "r.id"),
            ("name", "e.value ->> 'name'"),
            ("state", "case when e.value ->> 'event' is null then 'buffered' else 'consumed' end"),
            ("key", "e.value ->> 'key'"),
            ("input", "{line:input}"),
            ("execution", "e.value ->> 'execution'"),
            ("seq", "e.value ->> 'seq'"),
            ("at", "e.value ->> 'at'"),
        ],
        arms: &[
            (RAISED, "r.kind = 0"),
            ("cross join json_each(everstep_buffered(r.live)) e", "r.wake = 0 and r.kind = 0"),
        ],
    },
    View {
        name: "entities",
        columns: &[
            ("instance", "r.id"),
            ("name", "r.name"),
            ("key", "everstep_entity_key(r.id)"),
            ("state", "{value:output}"),
            ("locked_by", "everstep_locked_by(r.live)"),
            ("queue_length", "everstep_queue(r.live)"),
            ("created", "everstep_time(r.created)"),
            ("updated", "everstep_time(r.updated)"),
            ("created_ticks", "r.created"),
            ("updated_ticks", "r.updated"),
        ],
        arms: &[("", "r.kind = 1")],
    },
];

/// Whether a view is one of these, or the one that they are made of.
pub(crate) fn is_ours(name: &str) -> bool {
    VIEWS.iter().any(|view| view.name == name) || name == "everstep_payload"
}

/// The names of all views, for a sentence.
pub(crate) fn names() -> String {
    let names: Vec<_> = VIEWS.iter().map(|view| view.name).collect();
    let (last, others) = names.split_last().expect("there are views");
    format!("{} and {last}", others.join(", "))
}

/// Payloads of tables and overlay together.
const PAYLOADS: &str = "create temp view everstep_payload as
select iid, execution, n, bytes from main.payload
union all
select iid, execution, n, bytes from temp.everstep_overlay_payload;
";

/// Where the rows of an arm come from.
struct Source {
    from: &'static str,
    condition: &'static str,
    /// The arguments and the rest of a query that gathers the chunks of the row's history.
    chunks: &'static str,
}

/// The second arm takes chunks from two sides. A union of them would be read whole for each row; joins are not.
const SOURCES: [Source; 2] = [
    Source {
        from: "main.instance r",
        condition: "not exists (select 1 from main.purging p where p.iid = r.iid and p.execution >= r.execution)
            and not exists (select 1 from temp.everstep_gone g where g.iid = r.iid and g.execution >= r.execution)
            and not exists (select 1 from temp.everstep_overlay o where o.iid = r.iid)
            and not exists (select 1 from temp.everstep_overlay o where o.id = r.id)",
        chunks: "h.execution, h.seq, h.chunk, null, null)
            from main.history h where h.iid = r.iid
            and not exists (select 1 from main.purging p where p.iid = h.iid and p.execution >= h.execution)
            and not exists (select 1 from temp.everstep_gone g where g.iid = h.iid and g.execution >= h.execution)",
    },
    Source {
        from: "temp.everstep_overlay r",
        condition: "true",
        chunks: "coalesce(h.execution, o.execution), coalesce(h.seq, o.seq), coalesce(h.chunk, o.chunk),
                r.execution, r.events)
            from temp.everstep_side s
            left join main.history h on s.side = 0 and h.iid = r.iid
                and h.execution between r.keep_from and r.execution
            left join temp.everstep_overlay_chunk o on s.side = 1 and o.iid = r.iid
                and o.execution between r.keep_from and r.execution
            where h.iid is not null or o.iid is not null",
    },
];

/// The statements that make all views.
pub(crate) fn create() -> String {
    let views = VIEWS.iter().map(|view| {
        let names: Vec<_> = view.columns().collect();
        let (name, names, arms) = (view.name, names.join(", "), arms(view).join("\nunion all\n"));
        format!("create temp view {name} ({names}) as\n{arms};\n")
    });
    std::iter::once(PAYLOADS.to_owned()).chain(views).collect()
}

fn arms(view: &View) -> Vec<String> {
    let columns: Vec<_> = view.columns.iter().map(|(_, column)| expand(column)).collect();
    let columns = columns.join(", ");
    let mut arms = Vec::new();
    for Source { from, condition, chunks } in &SOURCES {
        for (beside, own) in view.arms {
            let beside = beside.replace("{chunks}", chunks);
            arms.push(format!("select {columns} from {from} {beside} where {own} and {condition}"));
        }
    }
    arms
}

/// Values that may be stored apart: of a column of the row, or of a line.
fn expand(column: &str) -> String {
    let name = |kind: &str| column.strip_prefix(kind)?.strip_suffix('}');
    let apart = |execution: String, n: String| {
        format!(
            "(select p.bytes from temp.everstep_payload p where p.iid = r.iid and p.execution = {execution} and p.n = {n})"
        )
    };
    if let Some(name) = name("{value:") {
        let (execution, n) = (
            format!("everstep_ref_execution(r.{name}_ref)"),
            format!("everstep_ref_n(r.{name}_ref)"),
        );
        format!("everstep_value(r.{name}, {})", apart(execution, n))
    } else if let Some(name) = name("{line:") {
        let (execution, n) =
            (format!("e.value ->> '$.{name}_ref[0]'"), format!("e.value ->> '$.{name}_ref[1]'"));
        format!("everstep_value(e.value ->> '{name}', {})", apart(execution, n))
    } else {
        column.to_owned()
    }
}
