//! Endings of exchanges with servers that do this or that to their one connection.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use super::super::super::exchange::{Ending, Reply, Target};
use super::super::once;

/// The ending of an exchange with a server that does this to its one connection.
fn ending(serve: impl FnOnce(TcpStream) + Send) -> Ending {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let addr = listener.local_addr().expect("its address");
    let target = Target::new(addr, "ask\n", Reply::exactly("answer"));
    thread::scope(|scope| {
        scope.spawn(|| serve(listener.accept().expect("a connection").0));
        once(&target).expect("the machine can")
    })
}

/// Reads the request, so that the close is a clean one.
fn say(stream: &mut TcpStream, reply: &[u8]) {
    stream.read_exact(&mut [0; 4]).expect("the request");
    stream.write_all(reply).expect("it is sent");
}

#[test]
fn a_whole_reply_is_one() {
    assert_eq!(
        ending(|mut stream| say(&mut stream, b"answer")),
        Ending::Replied
    );
}

#[test]
fn a_reply_may_come_in_parts() {
    let in_parts = |mut stream: TcpStream| {
        say(&mut stream, b"ans");
        thread::sleep(std::time::Duration::from_millis(5));
        stream.write_all(b"wer").expect("it is sent");
    };
    assert_eq!(ending(in_parts), Ending::Replied);
}

#[test]
fn half_a_reply_is_short() {
    assert_eq!(ending(|mut stream| say(&mut stream, b"ans")), Ending::Short);
}

#[test]
fn other_bytes_and_more_bytes_are_wrong() {
    assert_eq!(
        ending(|mut stream| say(&mut stream, b"nswer")),
        Ending::Wrong
    );
    assert_eq!(
        ending(|mut stream| say(&mut stream, b"answers")),
        Ending::Wrong
    );
}

#[test]
fn a_request_that_nobody_read_resets_behind_the_reply() {
    let without_reading = |mut stream: TcpStream| {
        stream.peek(&mut [0; 4]).expect("the request is there");
        stream.write_all(b"answer").expect("it is sent");
    };
    assert_eq!(ending(without_reading), Ending::RepliedThenReset);
}

#[test]
fn a_reset_before_the_reply_is_a_reset() {
    let without_a_word = |stream: TcpStream| {
        stream.peek(&mut [0; 4]).expect("the request is there");
    };
    assert_eq!(ending(without_a_word), Ending::Reset);
}

#[test]
fn the_client_comes_from_an_address_of_its_own() {
    let ending = ending(|mut stream| {
        let peer = stream.peer_addr().expect("its address");
        assert_eq!(peer.ip(), Ipv4Addr::new(127, 16, 0, 0));
        say(&mut stream, b"answer");
    });
    assert_eq!(ending, Ending::Replied);
}

#[test]
fn nobody_there_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let addr = listener.local_addr().expect("its address");
    drop(listener);
    let target = Target::new(addr, "", Reply::exactly(""));
    assert_eq!(once(&target).expect("the machine can"), Ending::Refused);
}
