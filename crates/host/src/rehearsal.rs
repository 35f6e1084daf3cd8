//! An app's present code, to try histories on it before it serves.
//!
//! No hub is opened and nothing listens. Only apps in Python are understood: the code of an app in Rust is a program of
//! its own.

use std::{io::Write as _, path::Path};

use everstep_python::Rehearsal;

use crate::{
    Error,
    configuration::{self, Places},
    start,
};

/// Loads the code of the app in a folder.
pub async fn rehearsal(app: &Path) -> Result<Rehearsal, Error> {
    let places = Places::of(app);
    let configured = configuration::read(&places, "localhost:7071")?;
    let app = start::python(&places, &configured.host, &configured.settings)?;
    let show = |line: &str| drop(writeln!(std::io::stderr().lock(), "{line}"));
    Ok(app.rehearse(show).await?)
}
