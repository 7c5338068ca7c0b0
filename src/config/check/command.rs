//! The rules of `[service.reply.command]` that take more than one key.

use crate::config::check::Check;
use crate::config::command::{ARGUMENT_BYTES_MAX, Command, Output, is_request};
use crate::config::document::Place;
use crate::config::fault::Fault;
use crate::config::framing::Read;
use crate::config::reply::{Body, HTTP_KEYS};
use crate::config::types::Service;

/// The keys of a cache, by which requests share a run.
const CACHE_KEYS: [&str; 4] = [
    "cache_seconds",
    "stale_seconds",
    "failure_cache_seconds",
    "cache_key",
];

impl Check<'_> {
    pub(super) fn command(&mut self, index: usize, service: &Service) {
        let Body::Command(command) = &service.reply.body else {
            return;
        };
        let of = OfCommand {
            check: self,
            index,
            service,
            command,
        };
        let mut found = of.cache();
        found.extend(of.http());
        found.extend(of.required());
        found.extend(of.program());
        found.extend(of.request_argument());
        found.extend(of.long_request());
        found.extend(of.timeout());
        found.extend(of.group());
        self.faults.extend(found);
    }
}

struct OfCommand<'a> {
    check: &'a Check<'a>,
    index: usize,
    service: &'a Service,
    command: &'a Command,
}

impl OfCommand<'_> {
    /// A key of the command's table.
    fn place(&self, key: &str) -> Place {
        Place::service(self.index, &format!("reply.command.{key}"))
    }

    fn is_wrong(&self, key: &str) -> bool {
        let key = format!("reply.command.{key}");
        self.check.wrong.has(Some(self.index), &key)
    }

    fn required(&self) -> Option<Fault> {
        let is_mistyped = self.check.wrong.has_near(self.index, "reply.command.run");
        let is_there = self.check.sources.has(&self.place("run"));
        (!is_there && !is_mistyped).then(|| {
            let place = Place::service(self.index, "reply.command");
            let label = "this command has no `run`";
            let fault = self.check.fault(&place, "missing key `run`", label);
            fault.help("write run = [\"/usr/bin/date\", \"-u\"]")
        })
    }

    fn program(&self) -> Option<Fault> {
        let program = self.command.run.first()?;
        if self.is_wrong("run") || program.starts_with('/') {
            return None;
        }
        let place = self.place("run.0");
        let label = "no PATH is searched, and no folder is the current one";
        let message = "a program without its absolute path";
        let fault = self.check.fault(&place, message, label);
        let help = match program.split_whitespace().count() {
            0 | 1 => "write the whole path: `command -v` tells it",
            _ => {
                "write the whole path, and each argument as an element of its own: no shell splits them"
            }
        };
        Some(fault.help(help))
    }

    /// Where `{{ request }}` is. A client that could choose an option would choose what runs.
    fn request_argument(&self) -> Option<Fault> {
        let run = &self.command.run;
        let at = self.command.request_argument()?;
        // One that is the program has no absolute path, and is told of as that.
        if self.is_wrong("run") || at == 0 {
            return None;
        }
        let place = self.place(&format!("run.{at}"));
        if !run[..at].iter().any(|argument| argument == "--") {
            let message = "a request where an option could be";
            let label = "a client could write `--help` here, or worse";
            let fault = self.check.fault(&place, message, label);
            return Some(fault.help("write \"--\" before it: what follows is no option"));
        }
        let again = run.iter().rposition(|argument| is_request(argument))?;
        (again != at).then(|| {
            let first = self.check.sources.find(&place);
            let place = self.place(&format!("run.{again}"));
            let message = "the request as two arguments";
            let fault = self.check.fault(&place, message, "the second one");
            let fault = fault.against(first, "the first one");
            fault.help("leave one of them out")
        })
    }

    fn long_request(&self) -> Option<Fault> {
        self.command.request_argument()?;
        let key = "max_request_bytes";
        let most = self.service.max_request_bytes;
        let is_wrong = self.is_wrong("run") || self.check.wrong.has(Some(self.index), key);
        if is_wrong || most <= ARGUMENT_BYTES_MAX {
            return None;
        }
        let place = Place::service(self.index, key);
        let message = "a request that fits into no argument";
        let label = format!("the kernel takes at most {ARGUMENT_BYTES_MAX} bytes in an argument");
        let argument = self.command.request_argument().unwrap_or_default();
        let argument = self
            .check
            .sources
            .find(&self.place(&format!("run.{argument}")));
        let fault = self.check.fault(&place, message, label);
        let fault = fault.against(argument, "the argument");
        Some(fault.help(format!(
            "set max_request_bytes = {ARGUMENT_BYTES_MAX} or less, or let the command read it from stdin"
        )))
    }

    fn timeout(&self) -> Option<Fault> {
        let reply_key = "reply_timeout_seconds";
        let is_wrong =
            self.is_wrong("timeout_seconds") || self.check.wrong.has(Some(self.index), reply_key);
        let (own, reply) = (self.command.timeout, self.service.reply_timeout);
        if is_wrong || own < reply {
            return None;
        }
        let own_place = self.place("timeout_seconds");
        let reply_place = Place::service(self.index, reply_key);
        let message = "a command's timeout that is not below its reply's";
        // One of the two is a default, perhaps: the caret goes to what was written.
        let fault = if self.check.sources.has(&own_place) {
            let label = format!("`{reply_key}` is {}", reply.as_secs_f64());
            let fault = self.check.fault(&own_place, message, label);
            fault.against(self.check.written(&reply_place), "the reply's")
        } else {
            let label = format!("the command's `timeout_seconds` is {}", own.as_secs_f64());
            self.check.fault(&reply_place, message, label)
        };
        Some(fault.help(
            "the reply's ends first, and the command's never would: lower `timeout_seconds`, or raise `reply_timeout_seconds`",
        ))
    }

    /// Keys of a cache without one, or beside a schedule.
    fn cache(&self) -> Vec<Fault> {
        let command = self.command;
        let set = [
            !command.cache.is_zero(),
            !command.stale.is_zero(),
            !command.failure_cache.is_zero(),
            command.cache_key.request || command.cache_key.peer,
        ];
        let set = CACHE_KEYS.into_iter().zip(set);
        let set = set.filter(|(key, is_set)| *is_set && !self.is_wrong(key));
        let mut set: Vec<&str> = set.map(|(key, _)| key).collect();
        if self.is_wrong("refresh_seconds") {
            return Vec::new();
        }
        if !command.refresh.is_zero() {
            let argument = command.request_argument().map(|at| format!("run.{at}"));
            set.extend(argument.as_deref().filter(|_| !self.is_wrong("run")));
            let schedule = self.check.sources.find(&self.place("refresh_seconds"));
            let beside = |key: &str| {
                let message = match key.split_once('.') {
                    Some(_) => "a request for runs that no request asks for".to_owned(),
                    None => format!("`{key}` beside `refresh_seconds`"),
                };
                let label = "on a schedule, the last run answers everyone";
                let fault = self.check.fault(&self.place(key), message, label);
                let fault = fault.against(schedule.clone(), "the schedule");
                fault.help("leave one of the two out")
            };
            return set.into_iter().map(beside).collect();
        }
        if !command.cache.is_zero() || self.is_wrong("cache_seconds") {
            return Vec::new();
        }
        let without = |key: &str| {
            let message = format!("`{key}` without `cache_seconds`");
            let label = "nothing is kept: every request has a run of its own";
            let fault = self.check.fault(&self.place(key), message, label);
            fault.help("set cache_seconds to 1 or so, or leave this out")
        };
        set.into_iter().map(without).collect()
    }

    /// What the head of an HTTP reply is made of.
    fn http(&self) -> Vec<Fault> {
        if self.is_wrong("output") || self.check.wrong.has(Some(self.index), "read") {
            return Vec::new();
        }
        let is_http = self.service.read == Read::Http;
        match self.command.output {
            Output::Raw if is_http => self.head_of_raw(),
            // Another rule refuses the keys of a head.
            Output::Raw => Vec::new(),
            Output::Body if is_http => self.status_of_body().into_iter().collect(),
            Output::Body => {
                let place = self.place("output");
                let message = "output = \"body\" without read = \"http\"";
                let label = "only an HTTP reply has a head";
                let fault = self.check.fault(&place, message, label);
                vec![fault.help("leave it out, or set read = \"http\"")]
            }
        }
    }

    fn head_of_raw(&self) -> Vec<Fault> {
        let output = self.check.written(&self.place("output"));
        let said = HTTP_KEYS.map(|key| format!("reply.{key}"));
        let said = said.iter().filter(|key| self.check.has(self.index, key));
        let faults = said.map(|key| {
            let place = Place::service(self.index, key);
            let message = format!("`{key}` of a reply that the command writes itself");
            let label = "output = \"raw\": its output goes out as it is, head and all";
            let fault = self.check.fault(&place, message, label);
            let fault = fault.against(output.clone(), "the output");
            fault.help(
                "leave it out, or set output = \"body\" if the command writes no head of its own",
            )
        });
        faults.collect()
    }

    fn status_of_body(&self) -> Option<Fault> {
        let key = "reply.status";
        self.check.has(self.index, key).then(|| {
            let place = Place::service(self.index, key);
            let label = "its exit code decides which status it has";
            let fault = self
                .check
                .fault(&place, "`reply.status` of a command", label);
            fault.help("write it into `exit_status`, such as { 0 = 200, 1 = 503 }")
        })
    }

    fn group(&self) -> Option<Fault> {
        let Command { user, group, .. } = self.command;
        if group.is_none() || user.is_some() || self.is_wrong("user") {
            return None;
        }
        let place = self.place("group");
        let label = "root with another group is still root";
        let fault = self.check.fault(&place, "`group` without `user`", label);
        Some(fault.help("name a `user` too"))
    }
}
