//! Functions by reference: what makes a wrong argument fail to compile.
//!
//! A handle names a function and its types. Constants of [`Activity`] and [`Orchestrator`] are handles; so are the
//! types that the attributes make.

use std::{fmt, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};

use crate::App;

/// A value that can be stored: an input, an output.
pub trait Payload: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Payload for T {}

/// Names an activity and its types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an activity",
    note = "pass a function with the attribute `#[everstep::activity]` or a constant `Activity<Input, Output>`; sub-orchestrations are started with `ctx.child`"
)]
pub trait ActivityHandle {
    /// What it takes.
    type Input: Payload;
    /// What it gives.
    type Output: Payload;
    /// The name it is registered under.
    fn name(&self) -> &'static str;
}

/// Names an orchestrator and its types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an orchestrator",
    note = "pass a function with the attribute `#[everstep::orchestrator]` or a constant `Orchestrator<Input, Output>`; activities are called with `ctx.call`"
)]
pub trait OrchestratorHandle {
    /// What it takes.
    type Input: Payload;
    /// What it gives.
    type Output: Payload;
    /// The name it is registered under.
    fn name(&self) -> &'static str;
}

/// Writes a handle type.
macro_rules! handle {
    ($(#[$doc:meta])* $name:ident, $of:ident) => {
        $(#[$doc])*
        pub struct $name<I, O> {
            name: &'static str,
            types: PhantomData<fn(I) -> O>,
        }

        impl<I, O> $name<I, O> {
            /// The function of this name.
            pub const fn new(name: &'static str) -> Self {
                Self { name, types: PhantomData }
            }
        }

        impl<I, O> Clone for $name<I, O> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<I, O> Copy for $name<I, O> {}

        impl<I, O> fmt::Debug for $name<I, O> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.name).finish()
            }
        }

        impl<I, O> From<&'static str> for $name<I, O> {
            fn from(name: &'static str) -> Self {
                Self::new(name)
            }
        }

        impl<I: Payload, O: Payload> $of for $name<I, O> {
            type Input = I;
            type Output = O;

            fn name(&self) -> &'static str {
                self.name
            }
        }

        impl<H: $of> $of for &H {
            type Input = H::Input;
            type Output = H::Output;

            fn name(&self) -> &'static str {
                (**self).name()
            }
        }
    };
}

handle! {
    /// An activity that takes `I` and gives `O`.
    ///
    /// ```
    /// # use everstep::{Activity, ActivityContext, App};
    /// const DOUBLE: Activity<u32, u32> = Activity::new("Double");
    ///
    /// let app = App::new("1").activity(DOUBLE, |_: ActivityContext, n: u32| async move {
    ///     n.checked_mul(2).ok_or("too large")
    /// });
    /// # let _ = app;
    /// ```
    Activity, ActivityHandle
}

handle! {
    /// An orchestrator that takes `I` and gives `O`.
    ///
    /// ```
    /// # use everstep::{App, Context, Failure, Orchestrator};
    /// const GREET: Orchestrator<String, String> = Orchestrator::new("Greet");
    ///
    /// async fn greet(_: Context, name: String) -> Result<String, Failure> {
    ///     Ok(format!("Hello, {name}!"))
    /// }
    ///
    /// let app = App::new("1").orchestrator(GREET, greet);
    /// # let _ = app;
    /// ```
    Orchestrator, OrchestratorHandle
}

/// What [`App::add`] takes: functions and entities that know how they are registered. The attributes write it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not know how it is registered",
    note = "give the function an attribute (`#[everstep::activity]`, `#[everstep::orchestrator]`), or register it with `App::activity` or `App::orchestrator`"
)]
pub trait Register {
    /// Adds it.
    fn register(self, app: App) -> App;
}
