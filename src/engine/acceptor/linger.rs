//! After the reply: waiting for the peer's end, so that our close destroys nothing.
//!
//! Most peers end their side soon, and how soon is much alike for all of them at one time: what keeps
//! one waiting for its processor keeps others, too. So a lingering connection stands in line until
//! its peer's end is likely, and is looked at by the next turn with a plain receive; only one that is
//! still open after a while costs a place in the poller and a deadline. It never goes back through the
//! queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::engine::acceptor::Acceptor;
use crate::engine::connection::Connection;
use crate::engine::room::Wait;
use crate::engine::token::Token;

/// How long a lingering connection is looked at now and then before the poller has it.
pub(super) const LOOKED_AT: Duration = Duration::from_millis(30);

/// How many are looked at in one turn.
const LOOKS_PER_TURN: usize = 64;

/// How long a connection stands in line before it is looked at, at the least and at the most.
/// Below, hardly any peer has ended its side; above, sockets would be held for nothing.
const PATIENCE_MIN: Duration = Duration::from_micros(500);
const PATIENCE_MAX: Duration = Duration::from_millis(10);

/// A look in vain makes the patience longer by this part of it, and one that was not makes it
/// shorter by that: so one look in nine is in vain, whatever the peers are like.
const LONGER_PARTS: u32 = 8;
const SHORTER_PARTS: u32 = 64;

/// Those that linger and are not in the poller yet, in the order in which they are looked at.
#[derive(Debug)]
pub(super) struct Line {
    /// Each with the time since when it stands here. May hold some that are gone.
    pub(super) standing: VecDeque<(Token, Instant)>,
    patience: Duration,

    /// In this turn as many as one looks at have been looked at ahead of time.
    is_hurried: bool,
}

impl Line {
    /// An empty line for `max_connections`.
    pub(super) fn new(max_connections: usize) -> Self {
        Self {
            // Reserved, not touched: pages nobody came for cost nothing.
            standing: VecDeque::with_capacity(max_connections),
            patience: PATIENCE_MIN,
            is_hurried: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }

    /// When the first is to be looked at, if there are more than one turn looks at: the last of them
    /// would wait for seconds else.
    pub(super) fn due_in_a_crowd(&self) -> Option<Instant> {
        let is_crowded = self.standing.len() > LOOKS_PER_TURN;
        let (_, since) = self.standing.front().filter(|_| is_crowded)?;
        Some(*since + self.patience)
    }

    /// Puts as many as one turn looks at from the end of the line to its beginning.
    fn last_first(&mut self) {
        let count = self.standing.len().min(LOOKS_PER_TURN);
        self.standing.rotate_right(count);
    }

    fn join(&mut self, token: Token, now: Instant) {
        self.standing.push_back((token, now));
    }

    /// Takes the first one, if it has stood for `patience`.
    fn next(&mut self, patience: Duration, now: Instant) -> Option<Token> {
        let (token, since) = *self.standing.front()?;
        if now.saturating_duration_since(since) < patience {
            return None;
        }
        self.standing.pop_front();
        Some(token)
    }

    fn looked(&mut self, is_in_vain: bool) {
        let patience = if is_in_vain {
            self.patience + self.patience / LONGER_PARTS
        } else {
            self.patience.saturating_sub(self.patience / SHORTER_PARTS)
        };
        self.patience = patience.clamp(PATIENCE_MIN, PATIENCE_MAX);
    }
}

impl Acceptor {
    /// The reply is out. It is looked at later: at this moment it hardly ever is over.
    pub(super) fn linger_from_now(&mut self, connection: Box<Connection>, now: Instant) {
        let token = connection.token;
        self.leave_source(self.room.service(token), &connection);
        let was_working = self.room.wait(token, Wait::Linger, true, None);
        debug_assert!(was_working, "a connection has come home twice");
        self.keep(connection);
        self.line.join(token, now);
    }

    /// Looks at those that have stood in line long enough.
    pub(super) fn linger(&mut self, now: Instant) {
        self.line.is_hurried = false;
        for _ in 0..LOOKS_PER_TURN {
            let Some(token) = self.line.next(self.line.patience, now) else {
                return;
            };
            if let Some(is_over) = self.look_at(token, now) {
                self.line.looked(!is_over);
            }
        }
    }

    /// Somebody is there for whom there is no room: looks at those in line however long they have
    /// stood, once a turn. Whether that has closed any.
    ///
    /// From the beginning of the line, where `is_room_full`; from its end where only the service is:
    /// who has left it just now is there.
    pub(super) fn close_ended(&mut self, is_room_full: bool, now: Instant) -> bool {
        if std::mem::replace(&mut self.line.is_hurried, true) {
            return false;
        }
        if !is_room_full {
            self.line.last_first();
        }
        let open_before = self.room.open();
        for _ in 0..self.line.standing.len().min(LOOKS_PER_TURN) {
            if let Some(token) = self.line.next(Duration::ZERO, now) {
                self.look_at(token, now);
            }
        }
        self.room.open() < open_before
    }

    /// Looks at one that was taken out of the line; in vain, and it stands at its end again, or is
    /// the poller's. Whether it is closed now; nothing of one that was before, or that the poller has.
    fn look_at(&mut self, token: Token, now: Instant) -> Option<bool> {
        if self.room.waits_for(token) != Some(Wait::Linger) || self.room.has_deadline(token) {
            return None;
        }
        let is_over = self.discard(token);
        if let Some(connection) = self.waiting(token) {
            let lingered = now.saturating_duration_since(connection.lingers_since());
            if lingered >= LOOKED_AT {
                self.watch_linger(token, now);
            } else {
                self.line.join(token, now);
            }
        }
        Some(is_over)
    }

    /// The poller says that something came from a peer that is lingered for. If it is still in
    /// line (the poller has been watching since an earlier wait), it is the poller's from here.
    pub(super) fn linger_on(&mut self, token: Token, now: Instant) {
        if !self.discard(token) {
            self.watch_linger(token, now);
        }
    }

    /// Throws away what is there. Whether the connection is closed now.
    pub(super) fn discard(&mut self, token: Token) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let connection = self.waiting(token);
        let is_over = connection.is_none_or(|connection| connection.discard(&mut scratch));
        self.scratch = scratch;
        if is_over {
            self.close(token);
        }
        is_over
    }

    fn watch_linger(&mut self, token: Token, now: Instant) {
        let Some(mut connection) = self.take(token) else {
            return;
        };
        let deadline = connection.linger_deadline(now);
        let latest = connection.lingers_since() + connection.service.linger.total;
        let is_armed = self.arm(&mut connection, Wait::Linger);
        self.keep(connection);
        if is_armed {
            self.room.wait_until(token, deadline);
        } else if now < latest {
            // The poller has no room for it: it goes on standing in line.
            self.line.join(token, now);
        } else {
            self.close(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The patience after looks at peers that end their side after `linger`, and how many of the last
    /// 1,000 looks were in vain.
    fn settled(linger: Duration) -> (Duration, usize) {
        const LOOKS: usize = 1000;
        let mut line = Line::new(1);
        let mut look = || {
            let is_in_vain = line.patience < linger;
            line.looked(is_in_vain);
            is_in_vain
        };
        (0..LOOKS).for_each(|_| _ = look());
        let in_vain = (0..LOOKS).filter(|_| look()).count();
        (line.patience, in_vain)
    }

    #[test]
    fn one_look_in_nine_is_in_vain_whatever_the_peers_are_like() {
        for milliseconds in [1, 3, 9] {
            let linger = Duration::from_millis(milliseconds);
            let (patience, in_vain) = settled(linger);
            assert!(
                (90..=130).contains(&in_vain),
                "{in_vain} of 1,000 at {milliseconds} ms"
            );
            assert!(
                patience > linger * 3 / 4 && patience < linger * 5 / 4,
                "{patience:?}"
            );
        }
    }

    #[test]
    fn patience_has_bounds() {
        assert_eq!(settled(Duration::ZERO), (PATIENCE_MIN, 0));
        assert_eq!(settled(Duration::MAX), (PATIENCE_MAX, 1000));
    }

    #[test]
    fn nobody_is_looked_at_before_the_time_and_then_in_order() {
        let now = Instant::now();
        let mut line = Line::new(2);
        let tokens = [Token::new(0, 0), Token::new(1, 0)];
        line.join(tokens[0], now);
        line.join(tokens[1], now + PATIENCE_MIN);
        assert_eq!(line.next(PATIENCE_MIN, now), None);
        assert_eq!(line.next(PATIENCE_MIN, now + PATIENCE_MIN), Some(tokens[0]));
        assert_eq!(line.next(PATIENCE_MIN, now + PATIENCE_MIN), None);
        assert_eq!(
            line.next(Duration::ZERO, now + PATIENCE_MIN),
            Some(tokens[1])
        );
    }

    #[test]
    fn who_joined_last_can_be_looked_at_first() {
        let now = Instant::now();
        let count = 2 * LOOKS_PER_TURN;
        let mut line = Line::new(count);
        for index in (0..).take(count) {
            line.join(Token::new(index, 0), now);
        }
        line.last_first();
        let mut indexes = std::iter::from_fn(|| line.next(Duration::ZERO, now)).map(Token::index);
        assert_eq!(indexes.next(), Some(LOOKS_PER_TURN));
        assert_eq!(indexes.nth(LOOKS_PER_TURN - 1), Some(0));
        assert_eq!(indexes.count(), LOOKS_PER_TURN - 1);
    }
}
