//! systemd's watchdog, earned: it is told that we live only when the acceptors have turned and a
//! probe has come through the queue of every pool and back.
//!
//! So an idle server lives on, and one whose workers or whose acceptor are stuck is started anew.

use std::time::Instant;

use crossbeam_channel::Receiver;

use crate::engine::{Engine, Probe};
use crate::systemd::notify::Notifier;

/// How many times to look within systemd's interval: a probe takes one look to be sent and one to be
/// back, and a busy machine may make us late for one.
const LOOKS: u32 = 4;

/// Tells systemd that we live.
#[derive(Debug)]
pub(super) struct Watchdog {
    notifier: Notifier,
    looks: Receiver<Instant>,
    probes: Vec<Probe>,
}

impl Watchdog {
    pub(super) fn new(notifier: Notifier) -> Self {
        let looks = match notifier.watchdog_interval() {
            Some(interval) => crossbeam_channel::tick(interval / LOOKS),
            None => crossbeam_channel::never(),
        };
        Self {
            notifier,
            looks,
            probes: Vec::new(),
        }
    }

    /// When to look.
    pub(super) fn looks(&self) -> &Receiver<Instant> {
        &self.looks
    }

    /// Whether the probes of the last look are back; then new ones are sent.
    pub(super) fn look(&mut self, engines: [&Engine; 2]) {
        if self.probes.iter_mut().all(Probe::is_back) {
            self.notifier.watchdog();
            self.probes = engines.into_iter().map(Engine::probe).collect();
        }
    }
}
