//! Which clients share an answer, and how many answers there are.

use std::net::SocketAddr;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::{Commands, script, shown};
use crate::client::read_all;

/// Says what is in its key.
const WHO: &str = "echo run >> runs; read request; echo \"$REMOTE_ADDR $request\"";

fn options(key: &str) -> String {
    format!("cache_seconds = 60\ncache_key = [{key}]\n")
}

/// One exchange from this address of the loopback interface.
#[track_caller]
fn ask_from(server: &Commands, ip: [u8; 4], request: &[u8]) -> String {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddr::from((ip, 0))).expect("bound");
    connect(&socket, &server.addr("cached")).expect("connected");
    let mut client = std::net::TcpStream::from(socket);
    client
        .set_read_timeout(Some(crate::harness::LIVENESS))
        .expect("an option");
    std::io::Write::write_all(&mut client, request).expect("sent");
    shown(&read_all(&mut client))
}

#[test]
fn each_request_has_an_answer_of_its_own() {
    let server = Commands::start(&script("cached", "", WHO, &options("\"request\"")));
    for _ in 0..3 {
        for request in ["one", "two", "", "one "] {
            let expected = format!(" {}\n", request.trim());
            assert_eq!(
                server.exchange("cached", format!("{request}\n").as_bytes()),
                expected
            );
        }
    }
    assert_eq!(server.lines("runs"), 4);
    server.wait_for_cache("cached", "hit", 8);
    server.at_rest();
}

#[test]
fn each_peer_has_an_answer_of_its_own() {
    let server = Commands::start(&script("cached", "", WHO, &options("\"peer\"")));
    for _ in 0..3 {
        for last in [1, 2] {
            // The request is the first one's: it isn't in the key.
            let said = ask_from(&server, [127, 0, 0, last], b"first\n");
            assert_eq!(said, format!("127.0.0.{last} first\n"));
            let said = ask_from(&server, [127, 0, 0, last], b"other\n");
            assert_eq!(said, format!("127.0.0.{last} first\n"));
        }
    }
    assert_eq!(server.lines("runs"), 2);
    server.at_rest();
}

#[test]
fn each_request_of_each_peer_may_have_one_of_its_own() {
    let server = Commands::start(&script(
        "cached",
        "",
        WHO,
        &options("\"request\", \"peer\""),
    ));
    for _ in 0..2 {
        for last in [1, 2] {
            for request in ["one", "two"] {
                let said = ask_from(
                    &server,
                    [127, 0, 0, last],
                    format!("{request}\n").as_bytes(),
                );
                assert_eq!(said, format!("127.0.0.{last} {request}\n"));
            }
        }
    }
    assert_eq!(server.lines("runs"), 4);
    server.at_rest();
}

#[test]
fn without_a_key_the_first_request_answers_all() {
    let server = Commands::start(&script("cached", "", WHO, "cache_seconds = 60"));
    assert_eq!(server.exchange("cached", b"one\n"), " one\n");
    assert_eq!(server.exchange("cached", b"two\n"), " one\n");
    server.at_rest();
}

/// Single flight is by key: one that hangs holds up only those who ask the same.
#[test]
fn runs_of_different_keys_do_not_wait_for_each_other() {
    let text = "read request; [ $request != slow ] || read _ < gate; echo $request";
    let mut server = Commands::start(&script("cached", "", text, &options("\"request\"")));
    let mut slow = [(); 3].map(|()| server.ask("cached", b"slow\n"));
    server.wait_for_cache("cached", "coalesced", 2);
    for request in ["one", "two", "one"] {
        let said = server.exchange("cached", format!("{request}\n").as_bytes());
        assert_eq!(said, format!("{request}\n"));
    }
    server.let_through(1);
    for client in &mut slow {
        assert_eq!(read_all(client), b"slow\n");
    }
    drop(slow);
    server.at_rest();
}
