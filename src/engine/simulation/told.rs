//! What a peer was told, as far as it has read: a whole reply, a page instead, or what nobody says.

use crate::engine::simulation::services::{Ask, Kind, PART, Service, made_text};
use crate::exchange::outcome::Outcome;

/// What a peer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// The reply, whole, and of this version, where it says so.
    Reply(Option<usize>),
    /// A page instead, whole.
    Page(Outcome),
    /// The beginning of something.
    Part,
    /// What nobody says.
    Garbage,
}

impl Service {
    /// What a peer, known by its port, was told, when it has asked this.
    pub(super) fn told(&self, ask: &Ask, port: u16, got: &[u8]) -> Told {
        if got.is_empty() {
            return Told::Nothing;
        }
        if self.kind == Kind::Http {
            return self.told_by_http(got);
        }
        let pages = [
            (Outcome::Busy, "busy\n"),
            (Outcome::Denied, "denied\n"),
            (Outcome::Failed, "failed\n"),
            (Outcome::TimedOut, "timed out\n"),
        ];
        let is_part_of = |whole: &str| whole.as_bytes().starts_with(got);
        if let Some((outcome, _)) = pages.into_iter().find(|(_, page)| page.as_bytes() == got) {
            return Told::Page(outcome);
        }
        let is_part_of_page = pages.into_iter().any(|(_, page)| is_part_of(page));
        if self.kind == Kind::Later {
            return self.told_later(port, got);
        }
        let request = match ask {
            Ask::Whole(kind, text) if *kind == self.kind => text.as_str(),
            _ if self.kind == Kind::Nothing => "",
            _ if is_part_of_page => return Told::Part,
            _ => return Told::Garbage,
        };
        let mentioned = if matches!(self.kind, Kind::Template | Kind::Echo | Kind::Eof) {
            request
        } else {
            ""
        };
        let mut is_part = is_part_of_page;
        for version in 0..self.versions.len() {
            let whole = self.text(version, mentioned);
            if whole.as_bytes() == got {
                let says_so = !matches!(self.kind, Kind::Echo | Kind::Eof);
                return Told::Reply(says_so.then_some(version));
            }
            is_part |= is_part_of(&whole);
        }
        if is_part { Told::Part } else { Told::Garbage }
    }

    fn told_by_http(&self, got: &[u8]) -> Told {
        let text = String::from_utf8_lossy(got);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return Told::Part;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        if body.len() < length {
            return Told::Part;
        }
        let is_reply = |version: &usize| body == self.text(*version, "");
        match head.get(9..12) {
            _ if body.len() > length => Told::Garbage,
            Some("200") => match (0..self.versions.len()).find(is_reply) {
                None => Told::Garbage,
                version => Told::Reply(version),
            },
            Some("503") => Told::Page(Outcome::Busy),
            Some("403") => Told::Page(Outcome::Denied),
            Some("500") => Told::Page(Outcome::Failed),
            Some("504" | "408") => Told::Page(Outcome::TimedOut),
            Some("413") => Told::Page(Outcome::TooLarge),
            Some("400") => Told::Page(Outcome::Invalid),
            _ => Told::Garbage,
        }
    }

    fn told_later(&self, port: u16, got: &[u8]) -> Told {
        let text = String::from_utf8_lossy(got);
        let rest = text.trim_start_matches(PART);
        let Some((head, body)) = rest.split_once("\r\n\r\n") else {
            return Told::Part;
        };
        let is_reply = |version: &usize| body == made_text(port, self.number, *version);
        match (0..self.versions.len()).find(is_reply) {
            version @ Some(_) if head.starts_with("HTTP/1.1 200 OK\r\n") => Told::Reply(version),
            _ if body.ends_with('\n') => Told::Garbage,
            _ => Told::Part,
        }
    }
}
