//! xl.cfg(5) files: Xen's users have these, and they work here with no Xen.
//!
//! What xl takes is taken and what it refuses is refused: libxlu, its parser, was asked for the tables in the tests.
//! [`parse`] reads the syntax, [`apply`] gives the keys their meaning. Keys that mean nothing (yet) are
//! named in a warning each.

mod apply;
mod disk;
mod display;
mod spec;
mod syntax;
mod text;
mod vif;

pub use apply::apply;
pub use syntax::{Entry, SyntaxError, Value, parse};
pub use text::Text;
