//! xl.cfg(5) files: Xen's users have these, and they work here with no Xen.
//!
//! [`parse`] reads the syntax, [`apply`] gives the keys their meaning. Keys that mean nothing (yet) are
//! named in a warning each.

mod apply;
mod disk;
mod syntax;

pub use apply::apply;
pub use syntax::{Entry, SyntaxError, Value, parse};
