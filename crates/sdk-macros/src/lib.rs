//! Attributes for the `everstep` crate. They are sugar: what they write can be written by hand.
//!
//! Z1  The name of the function becomes a handle; its code is reached as `name::run`.
//! Z2  Errors name what to write instead, and point at the place.
//!
//! Absent on purpose: anything that looks at types. A type is only ever copied.

mod entity;
mod function;

use proc_macro::TokenStream;

/// Makes an activity of `async fn(ActivityContext, I) -> Result<O, E>`; either argument may be left out.
///
/// The function's name becomes a handle for `ctx.call` and `App::add`; the code itself is `name::run`, for unit tests.
/// `#[activity(name = "Charge")]` registers it under another name.
#[proc_macro_attribute]
pub fn activity(arguments: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(function::Kind::Activity, arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes an orchestrator of `async fn(Context, I) -> Result<O, E>`; the input may be left out.
///
/// The function's name becomes a handle for `ctx.child`, clients and `App::add`; the code itself is `name::run`.
/// `#[orchestrator(name = "Order")]` registers it under another name.
#[proc_macro_attribute]
pub fn orchestrator(arguments: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(function::Kind::Orchestrator, arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes an entity of an `impl` block: each method that takes `&mut self` or `&self` is an operation.
///
/// A method takes at most one input, and `&mut EntityContext` if it wants to; it gives a value or a `Result`, and may be
/// async. For each a constant in capitals, its typed handle, is added to the type. `#[entity(pure)]` declares that no
/// operation touches anything but the state; `#[entity(name = "Counter")]` chooses another name.
#[proc_macro_attribute]
pub fn entity(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entity::expand(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
