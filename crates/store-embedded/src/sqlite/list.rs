//! Lists and counts: which index drives a query, and what is left to the rows.
//!
//! L1  Every row shown was accepted by [`Filter::matches`]; SQL only leaves rows out earlier.
//! L2  A list reads keys in order from one index (or several, merged) and then the rows of its page; it sorts only
//!     when few keys are left.
//! L3  A cursor is a place in the order, whether or not a row is there.

use std::time::{Duration, Instant};

use everstep_model::{Iid, Kind, Status, Timestamp};
use everstep_store::{Cursor, Filter, Order, Page, Row};
use rusqlite::{CachedStatement, Connection, params_from_iter, types::Value as Sql};

use super::{
    purge,
    row::{self, COLUMNS, Part, number},
};

/// So few keys are sorted rather than looked for in the order of creation.
const NARROW_MAX: i64 = 2_000;

/// After how many rows a count looks at the clock.
const ROWS_PER_GLANCE: u64 = 1024;

pub(super) fn list(
    conn: &Connection,
    filter: &Filter,
    order: Order,
    after: Option<Cursor>,
    limit: usize,
) -> rusqlite::Result<Page> {
    if limit == 0 {
        return Ok(Page::default());
    }
    let query = Query::new(filter, Some((order, after)));
    let driver = query.driver(conn, filter)?;
    let mut keys = conn.prepare_cached(&query.keys_sql(&driver, order))?;
    let mut keys = keys.query(params_from_iter(&query.params))?;
    let mut select = select_shown(conn)?;
    let mut rows = Vec::new();
    while let Some(key) = keys.next()?.filter(|_| rows.len() <= limit) {
        let row = shown(&mut select, row::iid(key, 1)?)?;
        rows.extend(Some(row).filter(|row| filter.matches(row)));
    }
    Ok(cut(rows, limit))
}

/// A page of at most `limit` rows. One more row than that says that others follow.
fn cut(mut rows: Vec<Row>, limit: usize) -> Page {
    let is_full = rows.len() > limit;
    rows.truncate(limit);
    let next =
        rows.last().filter(|_| is_full).map(|row| Cursor { created: row.created, iid: row.iid });
    Page { rows, next }
}

pub(super) fn count(
    conn: &Connection,
    filter: &Filter,
    within: Duration,
) -> rusqlite::Result<(u64, bool)> {
    let began = Instant::now();
    let query = Query::new(filter, None);
    let driver = query.driver(conn, filter)?;
    let mut keys = conn.prepare_cached(&query.verdicts_sql(&driver))?;
    let mut keys = keys.query(params_from_iter(&query.params))?;
    let mut select = select_shown(conn)?;
    let looks_inside = must_look_inside(filter);
    let (mut read, mut count) = (0_u64, 0);
    while let Some(key) = keys.next()? {
        read += 1;
        if read.is_multiple_of(ROWS_PER_GLANCE) && began.elapsed() > within {
            return Ok((count, false));
        }
        let is_counted = key.get(1)?
            && (!looks_inside || filter.matches(&shown(&mut select, row::iid(key, 0)?)?));
        count += u64::from(is_counted);
    }
    Ok((count, true))
}

/// What SQL decides only in part: tags, and names that it compares up to a zero byte.
fn must_look_inside(filter: &Filter) -> bool {
    !filter.tags.is_empty() || filter.name.as_ref().is_some_and(|name| name.contains('\0'))
}

fn select_shown(conn: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    conn.prepare_cached(&format!("select {COLUMNS} from instance where iid = ?1"))
}

fn shown(select: &mut CachedStatement<'_>, iid: Iid) -> rusqlite::Result<Row> {
    select.query_row([number(iid)], |row| row::read(row, Part::Shown))
}

/// Which index gives the keys.
enum Driver {
    /// Keys in the order of creation from one index, narrowed to these conditions.
    Ordered { index: &'static str, narrow: String },
    /// The same per status, merged.
    Merged(Vec<Status>),
    /// Few keys, to be sorted.
    Narrow { index: &'static str, narrow: String },
}

/// A filter as conditions over numbered parameters.
struct Query {
    /// All that SQL decides, to be joined by `and`.
    conditions: String,
    /// The bounds of `created`, among the conditions as well.
    created: String,
    /// The bounds of `id`, if the filter has some.
    id: Option<String>,
    /// The bounds of `completed`, if the filter has some.
    completed: Option<String>,
    /// The parent, if the filter has one.
    parent: Option<String>,
    /// The values of the parameters.
    params: Vec<Sql>,
}

impl Query {
    fn new(filter: &Filter, page: Option<(Order, Option<Cursor>)>) -> Self {
        let mut params = Params(Vec::new());
        let created = created_bounds(&mut params, filter, page);
        let id = id_bounds(&mut params, filter);
        let completed = completed_bounds(&mut params, filter);
        let parent = filter
            .parent
            .as_ref()
            .map(|parent| format!("parent = {}", params.add(parent.as_str().to_owned())));
        let mut conditions = vec![purge::VISIBLE.to_owned(), created.clone()];
        conditions.extend([&id, &completed, &parent].into_iter().flatten().cloned());
        conditions
            .extend(filter.kind.map(|kind| format!("kind = {}", u8::from(kind == Kind::Entity))));
        if !filter.statuses.is_empty() {
            let numbers: Vec<String> =
                statuses(filter).iter().map(|status| (*status as u8).to_string()).collect();
            conditions.push(format!("status in ({})", numbers.join(", ")));
        }
        if let Some(name) = &filter.name {
            conditions.push(format!("name = {} collate nocase", params.add(name.clone())));
        }
        conditions.extend(
            filter
                .tags
                .iter()
                .map(|tag| format!("instr(tags, {}) > 0", params.add(row::tag_text(tag)))),
        );
        if let Some(text) = &filter.input_contains {
            conditions.push(format!(
                "instr(cast(input as blob), {}) > 0",
                params.add(text.clone().into_bytes())
            ));
        }
        Self {
            conditions: conditions.join(" and "),
            created,
            id,
            completed,
            parent,
            params: params.0,
        }
    }

    /// The index that leaves the least to read: one instance's children, then what is known to be little, then the
    /// statuses, then everything in order.
    fn driver(&self, conn: &Connection, filter: &Filter) -> rusqlite::Result<Driver> {
        let ordered = |index, narrow: &str| Driver::Ordered { index, narrow: narrow.to_owned() };
        if let Some(parent) = &self.parent {
            return Ok(ordered("instance_parent", parent));
        }
        for (index, bounds) in [("instance_id", &self.id), ("instance_completed", &self.completed)]
        {
            if let Some(narrow) = bounds
                && self.is_narrow(conn, index, narrow)?
            {
                return Ok(Driver::Narrow { index, narrow: narrow.clone() });
            }
        }
        Ok(if filter.kind == Some(Kind::Entity) {
            ordered("instance_entity", "kind = 1")
        } else if filter.statuses.is_empty() {
            ordered("instance_created", "true")
        } else {
            Driver::Merged(statuses(filter))
        })
    }

    fn is_narrow(&self, conn: &Connection, index: &str, bounds: &str) -> rusqlite::Result<bool> {
        // The comparison with itself makes the number of parameters the same in every query.
        let last = self.params.len();
        let sql = format!(
            "select count(*) from (select 1 from instance indexed by {index} where {bounds} and ?{last} is ?{last}
             limit {})",
            NARROW_MAX + 1
        );
        let found: i64 = conn
            .prepare_cached(&sql)?
            .query_row(params_from_iter(&self.params), |row| row.get(0))?;
        Ok(found <= NARROW_MAX)
    }

    /// Selects (created, iid) of the rows that SQL does not leave out, in order.
    fn keys_sql(&self, driver: &Driver, order: Order) -> String {
        let leg = |index: &str, narrow: &str| {
            let conditions = &self.conditions;
            format!(
                "select created, iid from instance indexed by {index} where {narrow} and {conditions}"
            )
        };
        let legs = match driver {
            Driver::Ordered { index, narrow } | Driver::Narrow { index, narrow } => {
                leg(index, narrow)
            }
            Driver::Merged(statuses) => {
                let legs = statuses
                    .iter()
                    .map(|status| leg("instance_status", &format!("status = {}", *status as u8)));
                legs.collect::<Vec<_>>().join(" union all ")
            }
        };
        match order {
            Order::OldestFirst => format!("{legs} order by created, iid"),
            Order::NewestFirst => format!("{legs} order by created desc, iid desc"),
        }
    }

    /// Selects iid and whether SQL leaves the row in, for every row of the driver's range: a row at a time, so that
    /// the clock can be looked at however few there are to count.
    fn verdicts_sql(&self, driver: &Driver) -> String {
        let (index, narrow) = match driver {
            Driver::Ordered { index, narrow } | Driver::Narrow { index, narrow } => {
                (*index, narrow.clone())
            }
            Driver::Merged(statuses) => {
                let numbers: Vec<String> =
                    statuses.iter().map(|status| (*status as u8).to_string()).collect();
                ("instance_status", format!("status in ({})", numbers.join(", ")))
            }
        };
        let (conditions, created) = (&self.conditions, &self.created);
        format!(
            "select iid, coalesce({conditions}, 0) from instance indexed by {index} where {narrow} and {created}"
        )
    }
}

/// Numbered parameters as they come up.
struct Params(Vec<Sql>);

impl Params {
    fn add(&mut self, value: impl Into<Sql>) -> String {
        self.0.push(value.into());
        format!("?{}", self.0.len())
    }
}

/// At most one bound at either end, so that the index can use both: the cursor or the filter's, whichever is tighter.
fn created_bounds(
    params: &mut Params,
    filter: &Filter,
    page: Option<(Order, Option<Cursor>)>,
) -> String {
    let (mut from, mut to) = (None, None);
    match page {
        Some((Order::OldestFirst, after)) => {
            from = after.filter(|at| filter.created_from.is_none_or(|f| f <= at.created));
        }
        Some((Order::NewestFirst, after)) => {
            to = after.filter(|at| filter.created_to.is_none_or(|t| t >= at.created));
        }
        None => {}
    }
    let mut bounds = Vec::new();
    let mut bound =
        |cursor: Option<Cursor>, time: Option<Timestamp>, strict: &str| match (cursor, time) {
            (Some(Cursor { created, iid }), _) => {
                let (created, iid) = (params.add(created.ticks()), params.add(number(iid)));
                bounds.push(format!("(created, iid) {strict} ({created}, {iid})"));
            }
            (None, Some(time)) => {
                bounds.push(format!("created {strict}= {}", params.add(time.ticks())));
            }
            (None, None) => {}
        };
    bound(from, filter.created_from, ">");
    bound(to, filter.created_to, "<");
    if bounds.is_empty() { "true".to_owned() } else { bounds.join(" and ") }
}

fn id_bounds(params: &mut Params, filter: &Filter) -> Option<String> {
    let prefix = filter.id_prefix.as_deref().filter(|prefix| !prefix.is_empty())?;
    let from = format!("id >= {}", params.add(prefix.to_owned()));
    Some(match after_prefix(prefix) {
        Some(end) => format!("{from} and id < {}", params.add(end)),
        None => from,
    })
}

/// The least text above all that begin with the prefix. Bytes of UTF-8 order as characters do.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        let mut following = last..=char::MAX;
        following.next();
        if let Some(next) = following.next() {
            end.push(next);
            return Some(end.into_iter().collect());
        }
    }
    None
}

fn completed_bounds(params: &mut Params, filter: &Filter) -> Option<String> {
    let (from, to) = (filter.completed_from, filter.completed_to);
    let from = from.map(|from| format!("completed >= {}", params.add(from.ticks())));
    let to = to.map(|to| format!("completed <= {}", params.add(to.ticks())));
    match (from, to) {
        (None, None) => None,
        (Some(bound), None) | (None, Some(bound)) => Some(bound),
        (Some(from), Some(to)) => Some(format!("{from} and {to}")),
    }
}

/// Each once, or a row would come twice.
fn statuses(filter: &Filter) -> Vec<Status> {
    Status::ALL.into_iter().filter(|status| filter.statuses.contains(status)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_text_that_does_not_have_it() {
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(
            after_prefix("a\u{d7ff}").as_deref(),
            Some("a\u{e000}"),
            "no character lies between these two"
        );
        assert_eq!(after_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{10ffff}"), None);
    }
}
