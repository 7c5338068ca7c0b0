//! Whether what a peer was told, and how it ended for it, is what the server says of it.

use std::time::Duration;

use crate::engine::access_log::AccessRecord;
use crate::engine::simulation::network::History;
use crate::engine::simulation::peers::{End, Plan};
use crate::engine::simulation::promises::TURN_MAX;
use crate::engine::simulation::services::{self, Ask, Kind, Service};
use crate::engine::simulation::told::Told;
use crate::engine::simulation::world::World;
use crate::exchange::HalfClose;
use crate::exchange::outcome::Outcome;

/// The shortest time that a stop leaves to a request: see `engine::acceptor::drain`.
const REST_REQUEST: Duration = Duration::from_millis(200);

impl World {
    /// What is wrong with what a peer was told, if anything is.
    pub(super) fn judge_peer(
        &self,
        number: usize,
        id: usize,
        record: &AccessRecord,
    ) -> Option<String> {
        let peer = &self.peers[number];
        let service = self.service_named(&record.service)?;
        let told = self.told(number, id, service);
        if told == Told::Garbage {
            return Some(format!(
                "it was told {:?}",
                String::from_utf8_lossy(&peer.got)
            ));
        }
        if peer.end == Some(End::Whole) && told == Told::Part {
            return Some("P3: a part, and then the end".to_owned());
        }
        if let Told::Page(page) = told
            && page != record.outcome
        {
            return Some(format!("it was told {page:?}"));
        }
        if matches!(told, Told::Reply(_)) && !self.may_have_replied(id, record.outcome) {
            return Some("it has the whole reply".to_owned());
        }
        let history = &self.connections[id].history;
        if !peer.plan.is_faithful() || history.has_failed || self.connections[id].is_cut {
            return None;
        }
        self.judge_end(number, id, told, record.outcome)
            .or_else(|| self.judge_outcome(number, id, record, service))
    }

    fn service_named(&self, name: &str) -> Option<&Service> {
        let mut services = self.services.iter();
        services.find(|service| services::name(service.number) == name)
    }

    /// What it was told by the service that it was accepted for.
    fn told(&self, number: usize, id: usize, service: &Service) -> Told {
        let peer = &self.peers[number];
        match service.told(&peer.plan.ask, peer.addr.port(), &peer.got) {
            Told::Reply(Some(version)) if !self.may_serve(service, version, id) => Told::Garbage,
            told => told,
        }
    }

    /// Whether a connection can have been accepted for this version of a service.
    fn may_serve(&self, service: &Service, version: usize, id: usize) -> bool {
        let versions = &service.versions;
        let Some(at) = self.connections[id].history.accepted_at else {
            return false;
        };
        let is_replaced = |served_at: Option<Duration>| served_at.is_some_and(|then| then < at);
        let mut later = versions[version + 1..].iter();
        let is_over = later.any(|version| is_replaced(version.served_at));
        !is_over && versions[version].ordered_at <= at && !versions[version].is_refused
    }

    /// Whether the whole reply can have come with this outcome: a call that fails for no reason may
    /// come after the last byte.
    fn may_have_replied(&self, id: usize, outcome: Outcome) -> bool {
        outcome == Outcome::Replied || self.connections[id].history.has_failed
    }

    /// Of a peer that takes everything: how it ended for it.
    fn judge_end(&self, number: usize, id: usize, told: Told, outcome: Outcome) -> Option<String> {
        let history = &self.connections[id].history;
        let has_page = self.has_page(id, outcome);
        let end = self.peers[number].end;
        match end {
            Some(End::Whole) => {
                let is_all = match told {
                    Told::Reply(_) => outcome == Outcome::Replied,
                    Told::Page(_) => true,
                    Told::Nothing if outcome == Outcome::Replied => false,
                    Told::Nothing => !has_page || history.sent_bytes == 0,
                    Told::Part | Told::Garbage => false,
                };
                (!is_all).then(|| format!("P3: the end, and {told:?}"))
            }
            Some(End::Reset) => {
                let was_whole = history.ended_at.is_some() && has_page;
                let is_wrong = was_whole && history.bound.is_none();
                is_wrong.then(|| "P3: a reset, and all was sent".to_owned())
            }
            end => Some(format!("it was accepted, and has ended as {end:?}")),
        }
    }

    /// Whether something is said in the end.
    fn has_page(&self, id: usize, outcome: Outcome) -> bool {
        let service = self.service_of(self.connections[id].listener);
        let is_http = self.services[service].kind == Kind::Http;
        match outcome {
            Outcome::Replied
            | Outcome::Busy
            | Outcome::Denied
            | Outcome::Failed
            | Outcome::TimedOut => true,
            Outcome::TooLarge | Outcome::Invalid => is_http,
            _ => false,
        }
    }

    /// Whether nothing is in the way of a reply: who has asked in time and reads at once has it, where
    /// nothing fails.
    fn is_owed_a_reply(&self, plan: &Plan, history: &History, service: &Service) -> bool {
        let (Some(accepted_at), Some(arrived_at)) = (history.accepted_at, history.arrived_at)
        else {
            return false;
        };
        let is_in_time = arrived_at + TURN_MAX < accepted_at + self.bounds.timeouts.request
            && self.orders.began.is_none_or(|began| arrived_at < began);
        let is_made_at_once = service.kind != Kind::Later;
        self.conditions.are_calm() && plan.is_brisk() && is_in_time && is_made_at_once
    }

    /// Of a peer that takes everything: whether this outcome can be.
    fn judge_outcome(
        &self,
        number: usize,
        id: usize,
        record: &AccessRecord,
        service: &Service,
    ) -> Option<String> {
        let plan = &self.peers[number].plan;
        let history = &self.connections[id].history;
        let is_denied = self.peers[number].is_denied();
        let timeouts = &self.bounds.timeouts;
        let has_time = match (self.orders.began, history.arrived_at) {
            (Some(began), arrived) if arrived.is_none_or(|arrived| arrived > began) => {
                timeouts.request.min(REST_REQUEST)
            }
            _ => timeouts.request.min(timeouts.reply),
        };
        let can_be = match record.outcome {
            Outcome::Replied => matches!(plan.ask, Ask::Whole(..)) || service.kind == Kind::Nothing,
            Outcome::Busy => true,
            Outcome::Denied => is_denied,
            Outcome::Evicted => self.pressed_at.is_some(),
            Outcome::TimedOut if self.is_owed_a_reply(plan, history, service) => false,
            Outcome::TimedOut => record.duration + TURN_MAX >= has_time,
            Outcome::TooLarge => matches!(plan.ask, Ask::TooLarge(_)),
            Outcome::Invalid => plan.ask == Ask::Invalid,
            Outcome::NoRequest => plan.ask == Ask::Half,
            Outcome::PeerClosed => service.half_close == HalfClose::Cancel && plan.ends,
            Outcome::Failed => service.kind == Kind::Later,
            Outcome::Panicked => service.kind == Kind::Panics,
            Outcome::Abandoned => self.orders.until.is_some(),
        };
        let can_be = can_be && (record.outcome == Outcome::Denied || !is_denied);
        (!can_be).then(|| format!("that can't be: {record:?}"))
    }
}
