//! What commands do, and what becomes of them.
//!
//! Each test has children of its own thread, and takes nobody else's: so they run side by side.

mod ends;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
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
            let nap = Duration::from_millis(20);
            let turned = self.children.turn(Some(nap), &mut self.events);
            turned.expect("turned");
        }
    }

    /// Turns until a process is not even a zombie.
    #[track_caller]
    fn turn_until_gone(&mut self, pid: &str) {
        assert!(pid.parse::<u32>().is_ok(), "{pid:?} is a process");
        self.turn_until(|_| !std::path::Path::new("/proc").join(pid).exists());
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

fn request(bytes: &[u8]) -> Input {
    Input {
        stdin: bytes.to_vec(),
        ..Input::default()
    }
}
