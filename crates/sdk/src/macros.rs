//! What the attributes need by name. Not for use by hand.

/// The types of a function's result.
pub trait Returns {
    /// What it gives.
    type Output;
    /// Its error.
    type Error;
}

impl<O, E> Returns for Result<O, E> {
    type Output = O;
    type Error = E;
}
