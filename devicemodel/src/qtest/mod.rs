//! A machine with no CPU, driven from outside: QEMU's qtest protocol, and the same in this process.
//!
//! [`Access`] does what a vCPU would do to ports and memory. [`command`] is the protocol: a line in, a line out.
//! [`server`] moves the lines on a socket. [`Bare`] is a whole machine for tests, with no socket.

mod access;
mod bare;
pub mod command;
pub mod server;
mod taps;
#[cfg(test)]
mod tests;

pub use access::Access;
pub use bare::Bare;
pub use taps::IrqIntercept;
