//! The cases, a file a device.

mod port92;

use crate::case::Group;

/// All groups, in the order in which they are shown.
pub const GROUPS: &[Group] = &[port92::GROUP];
