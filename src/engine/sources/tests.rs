//! Limits of a source, at exact times.

use super::*;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const SECOND: Duration = Duration::from_secs(1);

fn peer(addr: impl Into<IpAddr>) -> Peer {
    Peer::from(SocketAddr::new(addr.into(), 4711))
}

fn v4(number: u32) -> Peer {
    peer(Ipv4Addr::from(number))
}

fn v6(prefix: u64, host: u64) -> Peer {
    peer(Ipv6Addr::from(u128::from(prefix) << 64 | u128::from(host)))
}

fn sources(limits: SourceLimits) -> (Sources, Instant) {
    let now = Instant::now();
    let mut sources = Sources::new(now, 4);
    sources.serve(&limits);
    (sources, now)
}

fn rate(per_second: f64) -> SourceLimits {
    SourceLimits {
        max_connections: 0,
        rate: Rate::per_second(per_second),
    }
}

fn at_a_time(max_connections: usize) -> SourceLimits {
    SourceLimits {
        max_connections,
        rate: None,
    }
}

/// How many of `count` from there are let in.
fn let_in(
    sources: &mut Sources,
    limits: SourceLimits,
    from: Peer,
    count: usize,
    at: Instant,
) -> usize {
    let admits = |_: &usize| sources.admit(0, &limits, from, at).is_ok();
    (0..count).filter(admits).count()
}

#[test]
fn a_rate_lets_a_seconds_worth_in_at_once_and_then_keeps_to_itself() {
    let limits = rate(5.0);
    let (mut sources, now) = sources(limits);
    assert_eq!(let_in(&mut sources, limits, v4(1), 20, now), 5);
    assert_eq!(
        let_in(&mut sources, limits, v4(2), 20, now),
        5,
        "each its own"
    );
    let over_ten_seconds: usize = (1..=1000)
        .map(|step| let_in(&mut sources, limits, v4(1), 1, now + step * SECOND / 100))
        .sum();
    assert_eq!(over_ten_seconds, 50);
    assert_eq!(
        sources.admit(0, &limits, v4(1), now + 10 * SECOND),
        Err(Reason::Rate)
    );
}

#[test]
fn a_rate_below_one_a_second_lets_one_in_now_and_then() {
    let limits = rate(0.1);
    let (mut sources, now) = sources(limits);
    assert_eq!(let_in(&mut sources, limits, v4(1), 3, now), 1);
    assert_eq!(let_in(&mut sources, limits, v4(1), 3, now + 9 * SECOND), 0);
    assert_eq!(let_in(&mut sources, limits, v4(1), 3, now + 10 * SECOND), 1);
}

#[test]
fn a_higher_rate_counts_at_once() {
    let slow = rate(0.001);
    let (mut sources, now) = sources(slow);
    assert_eq!(let_in(&mut sources, slow, v4(1), 3, now), 1);
    let quick = rate(100.0);
    let later = now + SECOND / 50;
    assert!(let_in(&mut sources, quick, v4(1), 3, later) <= 1);
    assert_eq!(let_in(&mut sources, quick, v4(1), 500, later + SECOND), 100);
}

#[test]
fn no_rate_is_no_limit() {
    assert_eq!(Rate::per_second(0.0), None);
    let limits = rate(0.0);
    let (mut sources, now) = sources(limits);
    assert_eq!(let_in(&mut sources, limits, v4(1), 1000, now), 1000);
}

#[test]
fn only_live_exchanges_count() {
    let limits = at_a_time(2);
    let (mut sources, now) = sources(limits);
    for _ in 0..2 {
        sources
            .admit(0, &limits, v4(1), now)
            .expect("there is room");
        sources.entered(0, &limits, v4(1));
    }
    assert_eq!(
        sources.admit(0, &limits, v4(1), now),
        Err(Reason::PerSource)
    );
    assert_eq!(sources.admit(0, &limits, v4(2), now), Ok(()), "another one");
    assert_eq!(
        sources.admit(1, &limits, v4(1), now),
        Ok(()),
        "of another service"
    );
    sources.left(0, &limits, v4(1));
    assert_eq!(sources.admit(0, &limits, v4(1), now), Ok(()));
    sources.left(0, &limits, v4(1));
    assert!(sources.live.is_empty(), "nothing is kept of who has left");
}

#[test]
fn ipv6_sources_are_networks_and_unix_peers_are_none() {
    let limits = at_a_time(1);
    let (mut sources, now) = sources(limits);
    sources.entered(0, &limits, v6(0x2001_0db8_0000_0001, 7));
    let mut admit = |from| sources.admit(0, &limits, from, now);
    let neighbour = v6(0x2001_0db8_0000_0001, u64::MAX);
    assert_eq!(admit(neighbour), Err(Reason::PerSource));
    assert_eq!(admit(v6(0x2001_0db8_0000_0002, 7)), Ok(()));
    sources.entered(0, &limits, Peer::Unix);
    assert_eq!(sources.admit(0, &limits, Peer::Unix, now), Ok(()));
}

/// The low half of an IPv6 prefix isn't mistaken for an IPv4 address.
#[test]
fn ipv4_and_ipv6_are_told_apart() {
    let limits = at_a_time(1);
    let (mut sources, now) = sources(limits);
    sources.entered(0, &limits, v4(7));
    assert_eq!(sources.admit(0, &limits, v6(7, 0), now), Ok(()));
}

#[test]
fn a_million_sources_cost_what_one_costs_and_who_floods_is_still_known() {
    let limits = rate(2.0);
    let (mut sources, now) = sources(limits);
    assert_eq!(let_in(&mut sources, limits, v4(1), 100, now), 2);
    for number in 2..1_000_000 {
        sources
            .admit(0, &limits, v4(number), now)
            .expect("its first");
    }
    assert_eq!(sources.table.len(), SETS);
    assert_eq!(size_of_val(&*sources.table), 512 * 1024);
    assert_eq!(
        sources.admit(0, &limits, v4(1), now),
        Err(Reason::Rate),
        "who comes too often is forgotten last"
    );
}

#[test]
fn live_exchanges_take_no_more_than_what_is_reserved() {
    let limits = at_a_time(1);
    let (mut sources, _) = sources(limits);
    let capacity = sources.live.capacity();
    for number in 0..100_000 {
        sources.entered(0, &limits, v4(number));
        if number >= 4 {
            sources.left(0, &limits, v4(number - 4));
        }
    }
    assert_eq!(sources.live.len(), 4);
    assert_eq!(sources.live.capacity(), capacity);
}
