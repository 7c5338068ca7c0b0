//! What commands do, and what becomes of them.
//!
//! Each test has children of its own thread, and takes nobody else's: so they run side by side. What
//! is about the whole process is the child of another test.

mod ends;
mod leftovers;
mod streams;
mod surroundings;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;

use crate::command::children::{
    Argument, Children, End, Ended, Event, Failed, Input, Process, RunId,
};

/// When a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(1000);

/// What a script is run with, unless a test says otherwise.
fn script(text: &str) -> Process {
    program(&["/bin/sh", "-c", text])
}

fn program(run: &[&str]) -> Process {
    let text = |argument: &&str| Argument::Text((*argument).to_owned());
    Process {
        run: run.iter().map(text).collect(),
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        working_directory: PathBuf::from("/"),
        identity: None,
        timeout: NEVER,
        kill_after: NEVER,
        max_output_bytes: 64 * 1024,
        descriptors: None,
    }
}

/// Children with all that has happened to them.
struct Owner {
    inbox: OwnedFd,
    children: Children,
    events: Vec<Event>,
    runs: u64,
}

impl Owner {
    fn new() -> Self {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let inbox = rustix::event::eventfd(0, flags).expect("an eventfd");
        let children = Children::new(inbox.as_fd()).expect("children");
        Self {
            inbox,
            children,
            events: Vec::new(),
            runs: 0,
        }
    }

    fn try_start(&mut self, process: Process, input: Input) -> io::Result<RunId> {
        self.runs += 1;
        let id = RunId(self.runs);
        let (process, now) = (Arc::new(process), Instant::now());
        self.children.start(id, &process, input, now)?;
        Ok(id)
    }

    #[track_caller]
    fn start(&mut self, process: Process) -> RunId {
        self.try_start(process, Input::default()).expect("started")
    }

    /// Turns until it is so.
    #[track_caller]
    fn turn_until(&mut self, is_so: impl Fn(&[Event]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(&self.events) {
            assert!(Instant::now() < end, "still not: {:?}", self.events);
            self.turn_for(Duration::from_millis(20));
        }
    }

    /// Turns until a turn is as long as was asked for: nothing wakes it. The other tests do, with the
    /// ends of their children.
    #[track_caller]
    fn turn_until_asleep(&mut self) {
        let end = Instant::now() + PATIENCE;
        let nap = Duration::from_millis(20);
        loop {
            let begun = Instant::now();
            self.turn_for(nap);
            if begun.elapsed() >= nap {
                return;
            }
            assert!(Instant::now() < end, "it spins");
        }
    }

    fn turn_for(&mut self, nap: Duration) -> bool {
        let turned = self.children.turn(Some(nap), &mut self.events);
        turned.expect("turned")
    }

    /// Turns until a process is not even a zombie.
    #[track_caller]
    fn turn_until_gone(&mut self, pid: &str) {
        assert!(pid.parse::<u32>().is_ok(), "{pid:?} is a process");
        let folder = format!("/proc/{pid}");
        self.turn_until(|_| !std::fs::exists(&folder).expect("known"));
    }

    /// What has become of a run; that is taken out of the events.
    #[track_caller]
    fn take(&mut self, id: RunId) -> Vec<Event> {
        self.turn_until(|events| events.contains(&Event::Gone(id)));
        let is_its = |event: &mut Event| match event {
            Event::Ended(its, _) | Event::Failed(its, _) | Event::Gone(its) => *its == id,
        };
        self.events.extract_if(.., is_its).collect()
    }

    #[track_caller]
    fn ended(&mut self, id: RunId) -> Ended {
        match <[Event; 2]>::try_from(self.take(id)) {
            Ok([Event::Ended(_, ended), Event::Gone(_)]) => ended,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn failed(&mut self, id: RunId) -> Failed {
        match <[Event; 2]>::try_from(self.take(id)) {
            Ok([Event::Failed(_, failed), Event::Gone(_)]) => failed,
            other => panic!("{other:?}"),
        }
    }

    /// What a process has written that ends well.
    #[track_caller]
    fn said(&mut self, process: Process, input: Input) -> String {
        let id = self.try_start(process, input).expect("started");
        let ended = self.ended(id);
        assert_eq!(ended.end, End::Exited(0), "{ended:?}");
        String::from_utf8(ended.stdout).expect("UTF-8")
    }
}

/// Runs a test that is ignored otherwise in a process of its own, which becomes so of a shell that does
/// `before`. What it has written to stderr.
#[track_caller]
fn alone(test: &str, before: &str) -> String {
    let run = format!("{before}; exec \"$0\" \"$1\" --exact --ignored --nocapture");
    let output = Command::new("sh")
        .args(["-c", &run])
        .arg(std::env::current_exe().expect("a path"))
        .arg(format!("command::children::tests::{test}"))
        .output()
        .expect("started");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("1 passed"), "{stdout}{said}");
    said
}

fn request(bytes: &[u8]) -> Input {
    Input {
        stdin: bytes.to_vec(),
        ..Input::default()
    }
}
