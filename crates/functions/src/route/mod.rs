//! Routes of HTTP functions.
//!
//! A [`Template`] is a route as ASP.NET writes it: `orders/{id:int}/{*rest}`. A [`Table`] holds the routes of an app and
//! finds the function that a request is for.
//!
//! R1  A literal wins over a parameter, a parameter with a constraint over one without, anything over a catch-all,
//!     segment by segment from the left. The order in which routes are given decides nothing.
//! R2  Literals are compared without the case of ASCII letters; values of parameters keep theirs.
//! R3  Values are decoded from the percent form, but for `%2F`, which stays as it is: it is no slash of the path.
//! R4  Finding takes time in proportion to the path's length for each route, whatever the templates.

mod constraint;
mod table;
mod template;

pub use constraint::Constraint;
pub use table::{Conflict, Found, Route, Table};
pub use template::{Error, Template};
