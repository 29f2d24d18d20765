//! The protocol below the session: frames in, frames out, and the stream they travel on.

pub mod frontend;
pub mod outbox;
pub mod transport;
