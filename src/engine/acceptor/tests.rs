//! The acceptor's tables, with sockets but without its thread.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::engine::acceptor::Acceptor;
use crate::engine::acceptor::drain::REST;
use crate::engine::acceptor::listening::{LISTENERS_PER_LOOK, Stage};
use crate::engine::change::{Change, Retired};
use crate::engine::connection::Connection;
use crate::engine::home::Home;
use crate::engine::listener::{ListenAddr, Listener, ListenerOptions};
use crate::engine::room::{Reason, Wait};
use crate::engine::tests::{metrics, service};
use crate::engine::{Limits, Report};
use crate::exchange::outcome::Outcome;
use crate::inbox::inbox;
use crate::metrics::Metrics;
use crate::peer::Peer;

const SECOND: Duration = Duration::from_secs(1);

/// An acceptor without listeners and workers, for one connection.
fn acceptor(metrics: &Arc<Metrics>) -> Acceptor {
    acceptor_for(1, metrics)
}

/// The same, for more.
fn acceptor_for(max_connections: usize, metrics: &Arc<Metrics>) -> Acceptor {
    let (_outbox, inbox) = inbox::<Home>(8).expect("an inbox");
    let limits = Limits {
        max_connections,
        max_turned_away: 1,
    };
    let mut acceptor =
        Acceptor::new(inbox, limits, None, Arc::clone(metrics)).expect("an acceptor");
    let change = Change {
        services: vec![(0, Arc::new(service(metrics)))],
        ..Change::default()
    };
    acceptor.change(change, Vec::new()).expect("a change");
    acceptor
}

/// Lets a connection in, whose client is given back.
fn arrive(acceptor: &mut Acceptor, now: Instant) -> (Box<Connection>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (socket, peer): (TcpStream, SocketAddr) = listener.accept().expect("accepted");
    socket.set_nonblocking(true).expect("nonblocking");
    let token = acceptor.room.admit(now, 0, false).expect("there is room");
    let service = Arc::clone(&acceptor.services[0]);
    let connection = Connection::new(
        service,
        token,
        OwnedFd::from(socket).into(),
        Peer::from(peer),
        now,
    );
    (Box::new(connection), client)
}

/// An event may close a connection that is still in the line of those that linger. Its slot is the
/// next one's then, and what stands in the line is not about that one.
#[test]
fn a_lingering_connection_that_is_gone_stands_in_nobodys_way() {
    let metrics = metrics();
    let mut acceptor = acceptor(&metrics);
    let now = Instant::now();
    let (gone, client) = arrive(&mut acceptor, now);
    let token = gone.token;
    acceptor.linger_from_now(gone, now);
    drop(client);
    acceptor.linger_on(token, now);
    assert_eq!(acceptor.room.open(), 0, "the event has closed it");

    let (next, mut client) = arrive(&mut acceptor, now);
    let next_token = next.token;
    assert_eq!(next_token.index(), token.index(), "the slot is used again");
    std::io::Write::write_all(&mut client, b"request\n").expect("sent");
    acceptor.wait(next, Wait::Request, now);
    acceptor.linger(now + SECOND);
    assert!(acceptor.line.is_empty(), "it still stands in line");
    assert_eq!(acceptor.room.waits_for(next_token), Some(Wait::Request));
    let connection = acceptor.take(next_token).expect("it waits");
    let transport = connection.transport().expect("it is open");
    let mut request = [0; 16];
    let count = transport
        .receive(&mut request)
        .expect("the request is still there");
    assert_eq!(&request[..count], b"request\n");
}

/// Its peer has ended its side; only that nobody has looked yet.
#[test]
fn who_has_ended_makes_room_for_who_comes_and_is_looked_for_once_a_turn() {
    let metrics = metrics();
    let mut acceptor = acceptor(&metrics);
    let now = Instant::now();
    let (lingering, client) = arrive(&mut acceptor, now);
    acceptor.linger_from_now(lingering, now);
    assert!(!acceptor.close_ended(true, now), "the peer is still there");
    drop(client);
    assert!(!acceptor.close_ended(true, now), "not twice in a turn");
    acceptor.linger(now);
    assert_eq!(acceptor.room.open(), 1, "in its turn it has time");
    assert!(acceptor.close_ended(true, now));
    assert_eq!(acceptor.room.open(), 0);
}

/// Lets the acceptor listen, on a listener that the descriptor given back holds too.
fn listen(acceptor: &mut Acceptor) -> (TcpListener, ListenAddr) {
    let options = ListenerOptions {
        backlog: 8,
        defer_accept: Duration::ZERO,
        keepalive: Duration::ZERO,
        user_timeout: Duration::ZERO,
    };
    let held = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = ListenAddr::Tcp(held.local_addr().expect("bound"));
    let fd = held.try_clone().expect("a descriptor").into();
    let listener = Listener::adopt(fd, addr.clone(), true, &options).expect("adopted");
    let change = Change {
        added: vec![(listener.kept_by_others(), 0)],
        ..Change::default()
    };
    acceptor.change(change, Vec::new()).expect("a change");
    (held, addr)
}

fn connect(listener: &TcpListener) -> TcpStream {
    TcpStream::connect(listener.local_addr().expect("bound")).expect("connected")
}

fn retired(addr: &ListenAddr, is_shared: bool) -> Change {
    Change {
        retired: vec![Retired {
            addr: addr.clone(),
            is_shared,
        }],
        ..Change::default()
    }
}

/// The kernel watches a socket as long as anybody holds it: without a word to the poller, who comes
/// to a listener that is not ours anymore would wake us for ever.
#[test]
fn a_listener_that_is_left_to_others_wakes_nobody() {
    let metrics = metrics();
    let mut acceptor = acceptor(&metrics);
    let (held, addr) = listen(&mut acceptor);
    let change = retired(&addr, true);
    acceptor.change(change, Vec::new()).expect("a change");
    let _client = connect(&held);
    acceptor.poller.wait(Some(Duration::ZERO)).expect("waited");
    assert_eq!(acceptor.poller.len(), 0);
}

#[test]
fn a_drain_without_anybody_is_over_at_once() {
    let metrics = metrics();
    let mut acceptor = acceptor(&metrics);
    let (_held, _addr) = listen(&mut acceptor);
    let now = Instant::now();
    acceptor.stop_newcomers(now);
    acceptor.drain_until(now + 10 * SECOND);
    let report = acceptor.drained(now).expect("drained");
    assert_eq!(report, Some(Report::default()));
}

/// Newcomers wait while the listener rests, and who was turned away has had the answer.
#[test]
fn who_was_turned_away_does_not_prolong_the_rest() {
    let metrics = metrics();
    let mut acceptor = acceptor(&metrics);
    let (held, _addr) = listen(&mut acceptor);
    let mut denying = service(&metrics);
    denying.access.deny = vec!["127.0.0.0/8".parse().expect("a network")];
    acceptor.services[0] = Arc::new(denying);
    let now = Instant::now();
    let _client = connect(&held);
    acceptor.listener_is_ready(0);
    acceptor.accept(now).expect("accepted");
    assert!(!acceptor.turned_away.is_empty());
    acceptor.stop_newcomers(now);
    acceptor.drain_until(now + 10 * SECOND);
    assert_eq!(acceptor.drained(now).expect("it drains"), None);
    let report = acceptor.drained(now + REST).expect("drained");
    assert!(report.is_some());
}

/// A reload has dropped it, and taken it out of the store: it has no successor.
#[test]
fn a_retired_listener_is_closed_by_a_drain_whoever_holds_it_still() {
    let metrics = metrics();
    let mut acceptor = acceptor(&metrics);
    let (_held, addr) = listen(&mut acceptor);
    let change = retired(&addr, false);
    acceptor.change(change, Vec::new()).expect("a change");
    let now = Instant::now();
    acceptor.stop_newcomers(now);
    acceptor.drain_until(now + 10 * SECOND);
    assert_eq!(acceptor.drained(now).expect("it drains"), None);
    let stage = acceptor.listening(0).map(|listening| listening.stage);
    assert_eq!(stage, Some(Stage::Closing));
    acceptor.accept(now).expect("accepted");
    assert!(acceptor.drained(now).expect("drained").is_some());
}

#[test]
fn a_listener_that_rests_wants_nothing() {
    let metrics = metrics();
    let mut acceptor = acceptor(&metrics);
    let (_held, _addr) = listen(&mut acceptor);
    let now = Instant::now();
    acceptor.pause(0, now + SECOND).expect("paused");
    acceptor.rest(true).expect("it rests");
    assert_eq!(acceptor.upkeep.due(), None);
}

/// The connections of an acceptor that are open, each with its client.
fn arrivals(acceptor: &mut Acceptor, count: usize, wait: Wait) -> Vec<TcpStream> {
    let now = Instant::now();
    let arrive = |_| {
        let (connection, client) = arrive(acceptor, now);
        match wait {
            Wait::Linger => acceptor.linger_from_now(connection, now),
            wait => acceptor.wait(connection, wait, now),
        }
        client
    };
    (0..count).map(arrive).collect()
}

#[test]
fn who_has_waited_too_long_in_the_queue_is_told_and_takes_nobodys_place() {
    let metrics = metrics();
    let mut acceptor = acceptor(&metrics);
    let now = Instant::now();
    let (connection, mut client) = arrive(&mut acceptor, now);
    acceptor.shed(connection, now);
    assert_eq!(acceptor.room.open(), 0, "its place is free");
    assert!(!acceptor.turned_away.is_empty(), "it has time to read why");
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("it has not been reset");
    let mut reply = Vec::new();
    std::io::Read::read_to_end(&mut client, &mut reply).expect("no reset");
    assert_eq!(reply, b"busy\n");
    let counters = &acceptor.services[0].metrics;
    assert_eq!(counters.rejected[Reason::QueueWait as usize].get(), 1);
    assert_eq!(counters.closed[Outcome::Busy.index()].get(), 1);
}

#[test]
fn without_descriptors_half_of_those_who_have_not_asked_make_room() {
    let metrics = metrics();
    let mut acceptor = acceptor_for(16, &metrics);
    let _silent = arrivals(&mut acceptor, 8, Wait::Request);
    let now = Instant::now();
    assert!(acceptor.relieve(Errno::MFILE, now));
    assert_eq!(acceptor.room.open(), 4);
    assert!(!acceptor.relieve(Errno::MFILE, now), "not for each error");
    assert_eq!(acceptor.room.open(), 4);
    assert!(acceptor.relieve(Errno::NOMEM, now + SECOND));
    assert_eq!(acceptor.room.open(), 3, "of memory there may be enough");
    let counters = &acceptor.services[0].metrics;
    assert_eq!(counters.closed[Outcome::Evicted.index()].get(), 5);
}

#[test]
fn who_lingers_goes_before_who_has_not_asked_but_not_at_once() {
    let metrics = metrics();
    let mut acceptor = acceptor_for(16, &metrics);
    let _lingering = arrivals(&mut acceptor, 1, Wait::Linger);
    let _silent = arrivals(&mut acceptor, 2, Wait::Request);
    assert!(acceptor.make_room(Instant::now()));
    let lingering = acceptor.room.lingering();
    assert_eq!(
        (acceptor.room.open(), lingering),
        (2, 1),
        "its peer may be about to leave"
    );
    assert!(acceptor.make_room(Instant::now() + SECOND));
    assert_eq!((acceptor.room.open(), acceptor.room.lingering()), (1, 0));
}

#[test]
fn nobody_who_waits_for_a_reply_makes_room() {
    let metrics = metrics();
    let mut acceptor = acceptor_for(16, &metrics);
    let mut asked = arrivals(&mut acceptor, 1, Wait::Reply);
    asked.extend(arrivals(&mut acceptor, 1, Wait::Write));
    let later = Instant::now() + SECOND;
    assert!(!acceptor.make_room(later));
    assert!(!acceptor.relieve(Errno::MFILE, later));
    assert_eq!(acceptor.room.open(), 2);
}

/// Behind a crowd, listeners are not waited for until the poller's turn comes to them.
#[test]
fn some_listeners_are_looked_at_each_turn_and_all_of_them_in_a_while() {
    let metrics = metrics();
    let mut acceptor = acceptor(&metrics);
    let held: Vec<_> = (0..2 * LISTENERS_PER_LOOK)
        .map(|_| listen(&mut acceptor))
        .collect();
    let mut looked_at = std::collections::HashSet::new();
    for turn in 0..held.len() {
        acceptor.turn = turn;
        acceptor.ready.clear();
        acceptor.look_at_listeners();
        acceptor.look_at_listeners();
        assert_eq!(acceptor.ready.len(), LISTENERS_PER_LOOK, "each once");
        looked_at.extend(acceptor.ready.iter().copied());
    }
    assert_eq!(looked_at.len(), held.len());
    acceptor.rest(true).expect("they rest");
    acceptor.ready.clear();
    acceptor.look_at_listeners();
    assert!(
        acceptor.ready.is_empty(),
        "one that rests is not accepted from"
    );
}
