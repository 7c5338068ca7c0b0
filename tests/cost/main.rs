//! Heap allocations per exchange, once the server is warm.
//!
//! The server runs in this process and answers over real sockets; every allocation of the process
//! counts. So nothing else may allocate meanwhile: the clients don't, the metrics are read through
//! their counters and not as a page, and there is one test, since the harness allocates between two.
//!
//! Where an allocation comes from: `valgrind --tool=dhat` on this binary tells by call stack.
//! Other costs of an exchange: `tests/cost.py`.

/// Clients that allocate nothing.
mod client;

/// The server in this process.
mod server;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

use crate::client::{Crowd, Request};
use crate::server::{Served, TestServer};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Clients at once, where there are several.
const CLIENTS: usize = 8;

/// Exchanges of each client before anything is counted: both workers have had their turns, and
/// whatever grows with use has grown.
const WARM_UP: usize = 100;

/// Exchanges of each client that are counted.
const COUNTED: usize = 250;

/// Of an exchange that waits for the rest of its request: the buffer comes from one worker and goes to
/// the other, so one of them runs out now and then. In this many exchanges that may happen once.
const MOVES_ONE_IN: usize = 20;

/// A service, what it is asked, and how many allocations an exchange takes.
struct Case {
    service: &'static str,
    request: Request,
    recorded: usize,
}

fn case(service: &'static str, request: &'static [u8], recorded: usize) -> Case {
    Case {
        service,
        request: Request {
            bytes: request,
            ends: false,
        },
        recorded,
    }
}

const GET: &[u8] = b"GET /status HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\n\r\n";

/// What is recorded beside 0 is what minijinja takes for the names and the values of a template.
fn cases() -> Vec<Case> {
    vec![
        case("text", b"\n", 0),
        case("http-text", GET, 0),
        case("large-text", b"\n", 0),
        case("echo", b"a line\r\n", 0),
        Case {
            request: Request {
                bytes: b"all there is",
                ends: true,
            },
            ..case("echo-eof", b"", 0)
        },
        case("command", b"\n", 0),
        case("http-command", GET, 0),
        case("file", b"\n", 0),
        case("http-file", GET, 0),
        case("large-file", b"\n", 0),
        case("template", b"you\n", 17),
        case("http-template", GET, 28),
    ]
}

#[test]
fn a_warm_server_allocates_what_is_recorded() {
    let server = TestServer::start();
    let mut wrong = Vec::new();
    for case in cases() {
        for clients in [1, CLIENTS] {
            let found = count(&case, clients, &server.served(case.service));
            let exchanges = clients * COUNTED;
            let Case {
                service, recorded, ..
            } = case;
            let spread = if case.request.ends {
                exchanges / MOVES_ONE_IN
            } else {
                0
            };
            let expected = recorded * exchanges;
            if !(expected..=expected + spread).contains(&found) {
                wrong.push(format!(
                    "{service}: {found} allocations in {exchanges} exchanges of {clients} clients; \
                     recorded are {recorded} for each: find the new ones, or record fewer in {}",
                    file!()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Allocations, those that only grow one included, of so many clients' counted exchanges.
fn count(case: &Case, clients: usize, served: &Served) -> usize {
    let crowd = Crowd::start(clients, served.addr, case.request);
    crowd.exchange(WARM_UP);
    served.wait_for_rest();
    let region = Region::new(ALLOCATOR);
    crowd.exchange(COUNTED);
    served.wait_for_rest();
    let change = region.change();
    change.allocations + change.reallocations
}
