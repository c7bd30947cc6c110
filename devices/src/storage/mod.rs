//! Disk and CD controllers.
