//! Whether the event loop is alive.

use std::sync::Arc;

use mio::Waker;

use super::counters::Counters;

/// Watches the event loop of a door.
pub struct Heartbeat {
    pub(super) waker: Arc<Waker>,
    pub(super) counters: Arc<Counters>,
    /// The turns of the loop until the last call.
    pub(super) turns: u64,
}

impl Heartbeat {
    /// Whether the loop has turned since the last call. Makes it turn again, because an idle loop
    /// would not.
    pub fn has_turned(&mut self) -> bool {
        let turns = self.counters.turns();
        // Fails only if the loop has ended.
        let _ = self.waker.wake();
        std::mem::replace(&mut self.turns, turns) != turns
    }
}
