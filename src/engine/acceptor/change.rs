//! Serving something else from now on, without losing anyone.

use std::io;
use std::sync::Arc;

use crate::engine::acceptor::Acceptor;
use crate::engine::acceptor::listening::{Listening, Stage};
use crate::engine::change::{Change, Emptied, Kept, Retired};
use crate::engine::listener::{ListenAddr, Listener};
use crate::engine::service::Service;
use crate::engine::worker::Pool;

impl Acceptor {
    /// Takes a change as a whole.
    ///
    /// # Errors
    /// * a listener can't be watched, or doesn't take its options: then nothing has changed but the
    ///   options of those before it
    pub(in crate::engine) fn change(&mut self, change: Change, pools: Vec<Pool>) -> io::Result<()> {
        for Kept { addr, options, .. } in &change.kept {
            if let Some(number) = self.number_of(addr) {
                self.listening(number)
                    .map_or(Ok(()), |listening| listening.listener.apply(options))?;
            }
        }
        let added = self.watch(change.added)?;

        self.pools.extend(pools);
        for Emptied { service, own_pool } in change.emptied {
            let service = self.services.get(service);
            if let Some(maker) = service.and_then(|service| service.maker.as_ref()) {
                maker.end();
            }
            if let Some(pool) = own_pool {
                self.pools[pool].queue.close();
            }
        }
        for (number, service) in change.services {
            self.serve(number, service);
        }
        self.listen(added);
        for Kept { addr, service, .. } in change.kept {
            if let Some(number) = self.number_of(&addr) {
                self.reassign(number, service);
            }
        }
        for Retired { addr, is_shared } in change.retired {
            if let Some(number) = self.number_of(&addr) {
                self.retire(number, is_shared);
            }
        }
        // They would keep services alive that have changed.
        self.spare.clear();
        Ok(())
    }

    /// A new service, or one in the place of another. Connections keep the one that they were
    /// accepted with.
    fn serve(&mut self, number: usize, service: Arc<Service>) {
        self.room.serve(number, service.max_connections);
        self.sources.serve(&service.source_limits);
        self.shares.serve(number, service.pool);
        if number == self.services.len() {
            self.services.push(service);
        } else {
            let before = std::mem::replace(&mut self.services[number], service);
            if let Some(maker) = &before.maker {
                maker.retire();
            }
        }
    }

    /// Begins to watch all of these listeners, or none. Each gets a number.
    fn watch(&self, listeners: Vec<(Listener, usize)>) -> io::Result<Vec<(usize, Listening)>> {
        let is_free = |number: &usize| !matches!(self.listeners.get(*number), Some(Some(_)));
        let numbers = (0..).filter(is_free);
        numbers
            .zip(listeners)
            .map(|(number, (listener, service))| {
                let listening = Listening::new(listener, service, number, &self.poller)?;
                Ok((number, listening))
            })
            .collect()
    }

    /// Accepts from these listeners from now on.
    fn listen(&mut self, watched: Vec<(usize, Listening)>) {
        for (number, listening) in watched {
            if number >= self.listeners.len() {
                self.listeners.resize_with(number + 1, || None);
            }
            self.listeners[number] = Some(listening);
            self.measure_for_its_service(number);
        }
    }

    /// Closes those that a change has retired, as soon as nothing is queued for them.
    pub(super) fn close_retired(&mut self) {
        for listening in self.listeners.iter_mut().flatten() {
            if listening.stage == Stage::Retired {
                listening.stage = Stage::Closing;
                self.upkeep.has_closing = true;
            }
        }
    }

    /// Tells whoever waits for it when no listener is closing anymore. After the counts of this turn
    /// are told: who has come by such a listener is to be among them.
    pub(super) fn note_closed(&mut self) {
        if !self.upkeep.has_closing {
            self.closing = None;
        }
    }

    /// Lets nobody new in at a listener. One that somebody else holds too is closed at once: its
    /// queue is theirs.
    pub(super) fn retire(&mut self, number: usize, is_shared: bool) {
        if is_shared {
            return self.close_listener(number);
        }
        let Some(listening) = self.listening(number) else {
            return;
        };
        listening.stage = Stage::Retired;
        if let Err(error) = listening.listener.stop_newcomers() {
            // Then they come until it is closed, and are refused instead of being unheard; who was
            // let in is served all the same.
            tracing::debug!(listener = %listening.listener.addr(), %error, "newcomers still come");
        }
    }

    pub(super) fn listening(&mut self, number: usize) -> Option<&mut Listening> {
        self.listeners.get_mut(number)?.as_mut()
    }

    fn reassign(&mut self, number: usize, service: usize) {
        let Some(listening) = self.listening(number) else {
            return;
        };
        let before = std::mem::replace(&mut listening.service, service);
        let addr = listening.listener.addr().to_string();
        let before = &self.services[before].exchange.service;
        if *before != self.services[service].exchange.service {
            self.metrics.forget_listener(before, &addr);
        }
        self.measure_for_its_service(number);
    }

    fn measure_for_its_service(&mut self, number: usize) {
        if let Some(Some(listening)) = self.listeners.get_mut(number) {
            let service = &self.services[listening.service].exchange.service;
            listening.measured_for(service, &self.metrics);
        }
    }

    fn number_of(&self, addr: &ListenAddr) -> Option<usize> {
        let is_it = |listening: &Option<Listening>| {
            (listening.as_ref()).is_some_and(|listening| listening.listener.addr() == addr)
        };
        self.listeners.iter().position(is_it)
    }
}
