//! Tallies, shares of threads, and loads on a server of this process.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use super::super::exchange::Reply;

#[test]
fn a_tally_counts_each_kind_and_times_those_with_a_reply() {
    let mut tally = Tally::new();
    tally.add(Ending::Replied, Duration::from_micros(100));
    tally.add(Ending::RepliedThenReset, Duration::from_micros(300));
    tally.add_late(Ending::Replied, Duration::from_micros(300));
    tally.add(Ending::Reset, Duration::from_secs(1));
    let mut both = tally.clone();
    both.merge(&tally);
    both.elapsed = Duration::from_secs(2);
    assert_eq!(both.replies(), 6);
    assert!((both.rate() - 2.0).abs() < 1e-9, "the late are not in it");
    let faults: Vec<_> = both.faults().collect();
    assert_eq!(faults, [(Ending::RepliedThenReset, 2), (Ending::Reset, 2)]);
    assert!(both.quantiles()[3] < 310.0, "a failure has no latency");
}

#[test]
fn endings_are_counted_under_their_own_name() {
    for (number, ending) in Ending::ALL.into_iter().enumerate() {
        assert_eq!(ending as usize, number, "{}", ending.name());
    }
}

#[test]
fn each_exchange_has_an_address_of_its_own() {
    let taken = |thread| Sources::new(thread, 2).take(3).map(|addr| addr.to_string());
    let (first, second): (Vec<_>, Vec<_>) = (taken(0).collect(), taken(1).collect());
    assert_eq!(first, ["127.16.0.0", "127.16.0.2", "127.16.0.4"]);
    assert_eq!(second, ["127.16.0.1", "127.16.0.3", "127.16.0.5"]);
    let last = Sources::new(Sources::COUNT as usize - 1, 1).next();
    assert_eq!(last, Some(Ipv4Addr::new(127, 31, 255, 255)));
}

#[test]
fn threads_share_the_clients() {
    let window = Window::new(Instant::now(), Duration::ZERO);
    let shares = |clients| {
        let share = |thread| match pace(Load::Closed { clients }, thread, 4, window) {
            Some(Pace::Closed { clients }) => clients,
            _ => 0,
        };
        (0..4).map(share).collect::<Vec<_>>()
    };
    assert_eq!(shares(1), [1, 0, 0, 0]);
    assert_eq!(shares(64), [16; 4]);
    assert_eq!(shares(7), [2, 2, 2, 1]);
}

#[test]
fn a_load_is_told_by_its_name() {
    let rate = NonZeroU32::new(5000).expect("a rate");
    let names = [
        Load::Closed { clients: 1 },
        Load::Open { percent: 25, rate },
        Load::Alone { clients: 64 },
        Load::Crowded {
            clients: 64,
            silent: 10_000,
        },
    ];
    assert_eq!(
        names.map(|load| load.to_string()),
        [
            "1 client",
            "open, 25 %: 5000/s",
            "64 clients, alone",
            "64 clients beside 10000 silent"
        ]
    );
}

/// Answers everyone, one after the other, after so long. It ends with the process: nobody can tell how many will come.
fn server(delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let addr = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            // One that was not started in time is closed without a word.
            if stream.read_exact(&mut [0]).is_ok() {
                thread::sleep(delay);
                let _sent = stream.write_all(b"!");
            }
        }
    });
    addr
}

fn load(delay: Duration, load: Load, milliseconds: u64) -> Tally {
    let target = Target::new(server(delay), "?", Reply::exactly("!"));
    run(&target, load, Duration::from_millis(milliseconds)).expect("the machine can")
}

#[test]
fn clients_ask_until_the_time_is_over() {
    let tally = load(Duration::ZERO, Load::Closed { clients: 3 }, 20);
    assert!(tally.count(Ending::Replied) >= 3, "each asks at least once");
    assert_eq!(tally.faults().count(), 0);
    assert_eq!(tally.elapsed, Duration::from_millis(20));
}

#[test]
fn an_open_load_asks_by_the_clock() {
    let rate = NonZeroU32::new(1000).expect("a rate");
    let tally = load(Duration::ZERO, Load::Open { percent: 50, rate }, 50);
    assert_eq!(tally.count(Ending::Replied), 50, "neither more nor less");
    assert_eq!(tally.faults().count(), 0);
}

/// A server that takes 5 ms for each of 20 that come within 10 ms is 90 ms behind in the end, and each is timed from when it was due.
#[test]
fn an_open_load_does_not_wait_for_a_slow_server() {
    let rate = NonZeroU32::new(2000).expect("a rate");
    let tally = load(
        Duration::from_millis(5),
        Load::Open { percent: 50, rate },
        10,
    );
    assert_eq!(tally.count(Ending::Replied), 20);
    let [median, _, _, longest] = tally.quantiles();
    assert!(longest >= 85_000.0, "{longest} µs");
    assert!(median >= 40_000.0, "{median} µs");
}
