//! Histories in files: a first line that names the instance, then the events in their stored form.
//!
//! The stored form is read by all later versions, so a file stays good for ever.

use std::{fs, path::Path};

use everstep_model::{Event, Failure, InstanceId, kinds, stored};

use crate::{App, failure};

const HEAD: &str = "everstep history 1 ";

pub(super) fn save(id: &InstanceId, history: &[Event], path: &Path) -> Result<(), Failure> {
    let mut bytes = format!("{HEAD}{id}\n").into_bytes();
    history.iter().for_each(|event| stored::put_event(&mut bytes, event));
    fs::write(path, bytes).map_err(|error| about(path, failure(error)))
}

/// Checks that the code of an app still makes the decisions of a history that
/// [`TestHub::save_history`](super::TestHub::save_history) wrote.
///
/// Keep one file for each shape of history that released code has made. A change that breaks one of them would have
/// parked instances of your users.
///
/// ```
/// use everstep::{App, Context, Failure, testing::{self, TestHub}};
///
/// async fn first(ctx: Context, _: ()) -> Result<u32, Failure> {
///     ctx.call_by_name("A", &1).await
/// }
///
/// async fn changed(ctx: Context, _: ()) -> Result<u32, Failure> {
///     ctx.call_by_name("B", &1).await
/// }
///
/// const NAME: everstep::Orchestrator<(), u32> = everstep::Orchestrator::new("Golden");
/// # let folder = std::env::temp_dir();
/// # let file = folder.join(format!("everstep-golden-{}.history", std::process::id()));
/// let app = App::new("1").orchestrator(NAME, first);
/// let mut hub = TestHub::new(app.clone());
/// let run = hub.start(NAME, ())?;
/// hub.save_history(run.id(), &file)?;
///
/// assert_eq!(testing::replay_file(&app, &file), Ok(()));
/// let changed = App::new("2").orchestrator(NAME, changed);
/// assert!(testing::replay_file(&changed, &file).is_err());
/// # std::fs::remove_file(&file).ok();
/// # Ok::<(), testing::Error>(())
/// ```
pub fn replay_file(app: &App, path: impl AsRef<Path>) -> Result<(), Failure> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|error| about(path, failure(error)))?;
    let (id, history) = read(&bytes).map_err(|failure| about(path, failure))?;
    app.replay(&id, &history).map_err(|failure| about(path, failure))
}

fn read(bytes: &[u8]) -> Result<(InstanceId, Vec<Event>), Failure> {
    let strange = || Failure::new(kinds::SERDE, "this is not a history; save it again");
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(strange)?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| strange())?;
    let id = head.strip_prefix(HEAD).ok_or_else(strange)?;
    let events: Result<_, _> = stored::events(&bytes[end + 1..]).collect();
    Ok((InstanceId::from_stored(id), events.map_err(failure)?))
}

/// The same failure, with the file named.
fn about(path: &Path, mut failure: Failure) -> Failure {
    failure.message = format!("{}: {}", path.display(), failure.message);
    failure
}
