//! The room, at exact times.

use super::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A room for three, with a service for two and one without a limit of its own.
fn room() -> (Room, Instant) {
    let now = Instant::now();
    let mut room = Room::new(now, 3);
    room.serve(0, 2);
    room.serve(1, 0);
    (room, now)
}

#[track_caller]
fn counts(room: &mut Room, service: usize) -> (usize, [usize; 4]) {
    let counts = &room.services[service];
    (counts.open, counts.waiting)
}

#[test]
fn limits_are_the_services_the_servers_and_the_queues() {
    let (mut room, now) = room();
    let first = room.admit(now, 0, false).expect("admitted");
    room.admit(now, 0, false).expect("admitted");
    assert_eq!(
        room.admit(now, 0, false),
        Err(Reason::MaxConnections),
        "of the service"
    );
    assert_eq!(room.admit(now, 1, true), Err(Reason::QueueFull));
    room.admit(now, 1, false).expect("admitted");
    assert_eq!(
        room.admit(now, 1, false),
        Err(Reason::MaxConnections),
        "of the server"
    );
    assert!(room.close(first));
    room.admit(now, 1, false).expect("there is room again");
    assert_eq!(room.open(), 3);
}

#[test]
fn a_token_of_a_closed_connection_reaches_nobody() {
    let (mut room, now) = room();
    let old = room.admit(now, 0, false).expect("admitted");
    assert!(room.close(old));
    let new = room.admit(now, 0, false).expect("admitted");
    assert_eq!(old.index(), new.index());
    assert!(!room.close(old), "closed twice");
    assert!(!room.wait(old, Wait::Reply, true, None));
    assert!(room.wait(new, Wait::Request, false, Some(now)));
    assert_eq!(room.waits_for(old), None);
    room.resume(old);
    assert_eq!(room.waits_for(new), Some(Wait::Request));
}

#[test]
fn counts_follow_each_connection() {
    let (mut room, now) = room();
    let token = room.admit(now, 1, false).expect("admitted");
    room.wait(token, Wait::Write, true, Some(now + SECOND));
    assert_eq!(counts(&mut room, 1), (1, [0, 0, 1, 0]));
    room.resume(token);
    room.wait(token, Wait::Linger, true, None);
    assert_eq!(counts(&mut room, 1), (1, [0, 0, 0, 1]));
    room.close(token);
    assert_eq!(counts(&mut room, 1), (0, [0; 4]));
    let mut published = Vec::new();
    room.publish(|service, counts| published.push((service, counts.open)));
    assert_eq!(published, [(1, 0)], "once a turn, whatever happened in it");
}

#[test]
fn a_deadline_passes_for_who_still_waits() {
    let (mut room, now) = room();
    let served = room.admit(now, 0, false).expect("admitted");
    let late = room.admit(now, 0, false).expect("admitted");
    room.wait(served, Wait::Request, false, Some(now + SECOND));
    room.wait(late, Wait::Write, true, Some(now + SECOND));
    room.resume(served);
    assert_eq!(room.expire(now), None);
    assert_eq!(room.expire(now + 2 * SECOND), Some((late, Wait::Write)));
    assert_eq!(room.expire(now + 2 * SECOND), None);
}

#[test]
fn who_is_silent_longest_goes_first_and_nobody_who_has_asked() {
    let (mut room, now) = room();
    let replying = room.admit(now, 1, false).expect("admitted");
    room.wait(replying, Wait::Write, true, None);
    assert_eq!(room.longest_asking(), None);
    let older = room.admit(now, 1, false).expect("admitted");
    room.wait(older, Wait::Request, false, None);
    let younger = room.admit(now + SECOND, 1, false).expect("admitted");
    room.wait(younger, Wait::Request, false, None);
    assert_eq!(room.longest_asking(), Some(older));
    room.resume(older);
    assert_eq!(room.longest_asking(), Some(younger), "it is being read");
    room.wait(older, Wait::Request, true, None);
    assert_eq!(
        room.longest_asking(),
        Some(younger),
        "it has said something"
    );
    room.resume(older);
    room.wait(older, Wait::Reply, true, None);
    assert_eq!(room.longest_asking(), Some(younger), "the other has asked");
    room.close(younger);
    assert_eq!(room.longest_asking(), None);
}

#[test]
fn who_goes_is_of_the_service_where_most_wait() {
    let now = Instant::now();
    let mut room = Room::new(now, 8);
    let mut asking = |service, at| {
        room.serve(service, 0);
        let token = room.admit(at, service, false).expect("admitted");
        room.wait(token, Wait::Request, false, None);
        token
    };
    let first = asking(0, now);
    let crowd = [1, 2, 3].map(|seconds| asking(1, now + seconds * SECOND));
    assert_eq!(room.longest_asking(), Some(crowd[0]));
    room.close(crowd[0]);
    room.close(crowd[1]);
    room.close(crowd[2]);
    assert_eq!(room.longest_asking(), Some(first));
}

#[test]
fn who_lingers_longest_is_known_of_each_service() {
    let (mut room, now) = room();
    let lingering = [1, 0, 1].map(|service| {
        let token = room.admit(now, service, false).expect("admitted");
        room.wait(token, Wait::Linger, true, None);
        token
    });
    let firsts = |room: &Room| room.first_lingering().collect::<Vec<_>>();
    assert_eq!(firsts(&room), [lingering[1], lingering[0]]);
    room.close(lingering[0]);
    assert_eq!(firsts(&room), [lingering[1], lingering[2]]);
}

#[test]
fn a_shortage_lowers_the_limit_for_a_while() {
    let (mut room, now) = room();
    room.admit(now, 1, false).expect("admitted");
    room.note_shortage(1, now);
    assert_eq!(room.admit(now, 1, false), Err(Reason::MaxConnections));
    room.admit(now + SHORTAGE, 1, false).expect("it is over");
    room.note_shortage(100, now + SHORTAGE);
    room.admit(now + SHORTAGE, 1, false).expect("admitted");
    assert!(room.is_full(now + SHORTAGE), "never more than there may be");
}

/// The orders, against plain lists.
#[test]
fn orders_are_those_of_plain_lists() {
    let mut runner = proptest::test_runner::TestRunner::default();
    let step = (0..4usize, 0..12usize);
    let steps = proptest::collection::vec(step, 1..200);
    let result = runner.run(&steps, |steps| {
        let now = Instant::now();
        let mut room = Room::new(now, 12);
        room.serve(0, 0);
        let mut asking: Vec<Token> = Vec::new();
        let mut lingering: Vec<Token> = Vec::new();
        for (action, which) in steps {
            let pick = |list: &[Token]| list.get(which % list.len().max(1)).copied();
            match action {
                0 => {
                    if let Ok(token) = room.admit(now, 0, false) {
                        room.wait(token, Wait::Request, false, None);
                        asking.push(token);
                    }
                }
                1 => {
                    if let Some(token) = pick(&asking) {
                        room.resume(token);
                        room.wait(token, Wait::Request, true, None);
                        asking.retain(|other| *other != token);
                        asking.push(token);
                    }
                }
                2 => {
                    if let Some(token) = pick(&asking) {
                        room.resume(token);
                        room.wait(token, Wait::Linger, true, None);
                        asking.retain(|other| *other != token);
                        lingering.push(token);
                    }
                }
                _ => {
                    let both: Vec<Token> = asking.iter().chain(&lingering).copied().collect();
                    if let Some(token) = pick(&both) {
                        room.close(token);
                        asking.retain(|other| *other != token);
                        lingering.retain(|other| *other != token);
                    }
                }
            }
            proptest::prop_assert_eq!(room.longest_asking(), asking.first().copied());
            let longest = room.first_lingering().next();
            proptest::prop_assert_eq!(longest, lingering.first().copied());
        }
        Ok(())
    });
    result.expect("as the lists");
}

#[test]
fn a_drain_gives_who_has_not_asked_a_second() {
    let now = Instant::now();
    let mut room = Room::new(now, 8);
    room.serve(0, 0);
    let waiting = |room: &mut Room, at, wait, has_received| {
        let token = room.admit(at, 0, false).expect("admitted");
        room.wait(token, wait, has_received, Some(at + 60 * SECOND));
        token
    };
    let silent_old = waiting(&mut room, now, Wait::Request, false);
    let drained_at = now + 5 * SECOND;
    let silent_young = waiting(&mut room, now + SECOND * 9 / 2, Wait::Request, false);
    let half_sent = waiting(&mut room, now, Wait::Request, true);
    let slow_reader = waiting(&mut room, now, Wait::Write, true);
    room.drain(drained_at);

    let mut expired = |at| {
        std::iter::from_fn(|| room.expire(at))
            .map(|(token, _)| token)
            .collect::<Vec<_>>()
    };
    assert_eq!(expired(drained_at + SECOND / 16), [silent_old]);
    assert_eq!(expired(drained_at + SECOND * 9 / 16), [silent_young]);
    assert_eq!(expired(drained_at + SECOND * 17 / 16), [half_sent]);
    assert_eq!(expired(drained_at + 50 * SECOND), []);
    assert_eq!(room.waits_for(slow_reader), Some(Wait::Write));

    let later = drained_at + 50 * SECOND;
    let late = room.admit(later, 0, false).expect("admitted");
    room.wait(late, Wait::Request, false, Some(later + 60 * SECOND));
    assert_eq!(room.expire(later + 2 * SECOND), Some((late, Wait::Request)));
}

#[test]
fn the_older_ones_are_those_who_were_there_before() {
    let (mut room, now) = room();
    let old = room.admit(now, 1, false).expect("admitted");
    room.drain(now);
    assert_eq!(room.older(), 1);
    let young = room.admit(now, 1, false).expect("admitted");
    assert!(room.close(young));
    assert_eq!(room.older(), 1, "who came later is not counted");
    assert!(room.close(old));
    assert_eq!(room.older(), 0);
}

#[test]
fn a_hurry_is_for_who_has_not_asked_and_can_be_called_off() {
    let (mut room, now) = room();
    let asks = room.admit(now, 1, false).expect("admitted");
    room.wait(asks, Wait::Request, false, Some(now + 60 * SECOND));
    let reads = room.admit(now, 1, false).expect("admitted");
    room.wait(reads, Wait::Write, true, Some(now + 60 * SECOND));
    room.hurry(Some(now + SECOND));
    room.hurry(None);
    assert_eq!(room.expire(now + 2 * SECOND), None);
    room.hurry(Some(now + 3 * SECOND));
    assert_eq!(room.expire(now + 4 * SECOND), Some((asks, Wait::Request)));
    assert_eq!(room.expire(now + 4 * SECOND), None);
    room.resume(reads);
    room.wait(reads, Wait::Linger, true, None);
    assert_eq!(room.lingering(), 1);
}

#[test]
fn who_lingers_is_not_among_the_older_ones() {
    let (mut room, now) = room();
    let lingers = room.admit(now, 1, false).expect("admitted");
    room.wait(lingers, Wait::Linger, true, None);
    let reads = room.admit(now, 1, false).expect("admitted");
    room.wait(reads, Wait::Write, true, None);
    room.drain(now);
    assert_eq!(room.older(), 1, "who lingered before is not counted");
    room.resume(reads);
    room.wait(reads, Wait::Linger, true, None);
    assert_eq!(room.older(), 0, "nor who does since");
    assert!(room.close(lingers));
    assert!(room.close(reads));
    assert_eq!(room.older(), 0, "nobody is counted twice");
}
