//! The acceptor's tables, with sockets but without its thread.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::acceptor::Acceptor;
use crate::engine::acceptor::drain::REST;
use crate::engine::acceptor::listening::Stage;
use crate::engine::change::{Change, Retired};
use crate::engine::connection::Connection;
use crate::engine::home::Home;
use crate::engine::listener::{ListenAddr, Listener, ListenerOptions};
use crate::engine::room::Wait;
use crate::engine::tests::{metrics, service};
use crate::engine::{Limits, Report};
use crate::inbox::inbox;
use crate::metrics::Metrics;
use crate::peer::Peer;

const SECOND: Duration = Duration::from_secs(1);

/// An acceptor without listeners and workers, for one connection.
fn acceptor(metrics: &Arc<Metrics>) -> Acceptor {
    let (_outbox, inbox) = inbox::<Home>(8).expect("an inbox");
    let limits = Limits {
        max_connections: 1,
        max_turned_away: 1,
        evicts: false,
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
    let token = acceptor.room.admit(now, 0, 0, 8).expect("there is room");
    let service = Arc::clone(&acceptor.services[0]);
    let connection = Connection::new(service, token, OwnedFd::from(socket), Peer::from(peer), now);
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
