//! What a browser speaks: the head of an HTTP request, and WebSocket on the same connection.
//!
//! Neither part has a socket or a clock, and neither keeps more than a bounded piece of what a client sends: a head
//! of at most [`http::LONGEST`] bytes, the head of a frame, and the answer to the last ping. A frame's payload is
//! handed on as it comes, whatever length it claims: what runs on top is a stream. That is what a library of
//! WebSocket messages does not do, which gathers them whole.

pub mod http;
#[cfg(test)]
mod tests;
pub mod websocket;
