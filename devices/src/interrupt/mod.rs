//! Interrupt controllers.
