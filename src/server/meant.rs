//! What is surely not what was meant, on whatever machine.

use std::time::Duration;

use crate::config::address::Address;
use crate::config::command::{Command, Stdin};
use crate::config::document::Place;
use crate::config::fault::Fault;
use crate::config::framing::Read;
use crate::config::load::Loaded;
use crate::config::reply::Body;
use crate::config::types::Service;
use crate::reply::http::{HttpHead, HttpOptions};
use crate::server::build;

/// All such warnings of a configuration.
pub(super) fn all(loaded: &Loaded) -> Vec<Fault> {
    let mut found = Vec::new();
    if loaded.config.services.is_empty() {
        let message = "no service: nothing but the admin listener answers";
        let fault = loaded.fault(&Place::top(""), message, "", None);
        found.push(fault.help("write a [[service]]"));
    }
    found.extend(open_admin(loaded));
    for (index, service) in loaded.config.services.iter().enumerate() {
        let of = OfService {
            loaded,
            index,
            service,
        };
        found.extend(of.timeouts());
        found.extend(of.relative_files());
        found.extend(of.request_of_nothing());
        found.extend(of.reply_to_another());
        found.extend(of.texts_never_sent());
    }
    found.into_iter().map(Fault::warning).collect()
}

/// `allow = []` of an admin listener that more than this machine can reach.
fn open_admin(loaded: &Loaded) -> Option<Fault> {
    let admin = &loaded.config.admin;
    let is_reachable =
        |address: &&Address| matches!(address, Address::Tcp(socket) if !socket.ip().is_loopback());
    let reachable = admin.listen.iter().find(is_reachable)?;
    admin.allow.is_empty().then(|| {
        let label = format!("whoever reaches {reachable} may ask");
        let message = "the admin listener is open to everyone";
        let fault = loaded.fault(&Place::top("admin.allow"), message, label, None);
        fault.help("name the networks of those who scrape it")
    })
}

struct OfService<'a> {
    loaded: &'a Loaded,
    index: usize,
    service: &'a Service,
}

impl OfService<'_> {
    fn place(&self, key: &str) -> Place {
        Place::service(self.index, key)
    }

    fn command(&self) -> Option<&Command> {
        match &self.service.reply.body {
            Body::Command(command) => Some(command),
            _ => None,
        }
    }

    fn is_written(&self, key: &str) -> bool {
        self.loaded.sources.has(&self.place(key))
    }

    /// Timeouts over the grace period. The defaults are, and no fault of anyone's.
    fn timeouts(&self) -> Vec<Fault> {
        let default = Service::default();
        let grace_period = self.loaded.config.server.grace_period;
        let is_meant =
            |timeout: Duration, default: Duration| timeout <= grace_period || timeout == default;
        let timeouts = [
            (
                "request_timeout_seconds",
                self.service.request_timeout,
                default.request_timeout,
            ),
            (
                "reply_timeout_seconds",
                self.service.reply_timeout,
                default.reply_timeout,
            ),
        ];
        let command = self.command().map(|command| {
            let default = Command::default().timeout;
            ("reply.command.timeout_seconds", command.timeout, default)
        });
        let long = timeouts
            .into_iter()
            .chain(command)
            .filter(|(_, timeout, default)| !is_meant(*timeout, *default));
        let faults = long.map(|(key, ..)| {
            let label = format!("a stop waits for {} s at most", grace_period.as_secs_f64());
            let message = format!("`{key}` is longer than the grace period");
            let grace = Place::top("server.grace_period_seconds");
            let grace = self
                .loaded
                .sources
                .find(&grace)
                .filter(|_| self.loaded.sources.has(&grace));
            let fault = self.loaded.fault(&self.place(key), message, label, None);
            fault
                .against(grace, "the grace period")
                .help("raise `grace_period_seconds`, or what takes longer is abandoned at a stop")
        });
        faults.collect()
    }

    fn relative_files(&self) -> Vec<Fault> {
        let reply = match &self.service.reply.body {
            Body::File(path) => Some(("reply.file", path)),
            Body::Text(_) | Body::Echo | Body::Command(_) => None,
        };
        let maintenance = self.service.maintenance.as_ref();
        let maintenance = maintenance.map(|said| ("maintenance.file", &said.file));
        let files = reply.into_iter().chain(maintenance);
        let relative = files.filter(|(_, path)| path.is_relative());
        let faults = relative.map(|(key, _)| {
            let label = "relative to the folder that replyd is started in";
            let place = self.place(key);
            let fault = self.loaded.fault(&place, "a relative path", label, None);
            fault.help("write the whole path: under systemd that folder is `/`")
        });
        faults.collect()
    }

    fn request_of_nothing(&self) -> Option<Fault> {
        if self.service.read != Read::Nothing {
            return None;
        }
        let key = match &self.service.reply.body {
            Body::Text(_) => {
                // One that does not compile is an error already.
                let reply = build::reply(self.loaded, self.index, None).ok()?;
                reply.uses_request().then(|| "reply.text".to_owned())?
            }
            Body::Command(command) => format!("reply.command.run.{}", command.request_argument()?),
            Body::Echo | Body::File(_) => return None,
        };
        let message = "a placeholder without a request";
        let label = "read = \"nothing\": this is always empty";
        let fault = self.loaded.fault(&self.place(&key), message, label, None);
        Some(fault.help("leave `{{ request }}` out, or set `read` to how a request ends"))
    }

    /// A command that is told of the request, and whose reply goes to who asked something else. That
    /// it reads what a health check sends means nothing.
    fn reply_to_another(&self) -> Option<Fault> {
        let command = self.command()?;
        let is_health_check = self.service.read == Read::Http;
        let reads = command.stdin == Stdin::Request && !is_health_check;
        let is_told = reads || command.request_argument().is_some();
        let is_asked = is_told && self.service.read != Read::Nothing;
        if !is_asked || command.cache.is_zero() || command.cache_key.request {
            return None;
        }
        let place = self.place("reply.command.cache_seconds");
        let message = "a reply to one request that answers every other";
        let label = "whoever asks within this time gets it, whatever they ask";
        let fault = self.loaded.fault(&place, message, label, None);
        Some(fault.help(
            "set cache_key = [\"request\"], or stdin = \"nothing\" if the command doesn't read it",
        ))
    }

    /// Contents beside a status that has none.
    fn texts_never_sent(&self) -> Vec<Fault> {
        let service = self.service;
        let content = match &service.reply.body {
            Body::Text(text) if text.is_empty() => None,
            Body::Text(_) => Some("text"),
            Body::Echo => Some("echo"),
            Body::File(_) => Some("file"),
            // Its status is not in `status`.
            Body::Command(_) => None,
        };
        let said = service.notices().into_iter().map(|(key, notice)| {
            // A default text that is not sent is no surprise.
            let is_said = !notice.text.is_empty() && self.is_written(&format!("{key}.text"));
            (key, notice.status, is_said.then_some("text"))
        });
        let said = [("reply", service.reply.status, content)]
            .into_iter()
            .chain(said);
        let mut found = Vec::new();
        for (key, status, content) in said {
            let has_body = HttpHead::new(&HttpOptions::of(status)).has_body();
            if let Some(content) = content.filter(|_| !has_body) {
                let place = self.place(&format!("{key}.{content}"));
                let spot = self
                    .loaded
                    .sources
                    .find(&self.place(&format!("{key}.status")));
                let message = format!("status {status} has no content");
                let fault = self
                    .loaded
                    .fault(&place, message, "this is never sent", None);
                let fault = fault.against(spot, "by this status");
                found.push(fault.help("leave the content empty, or choose another status"));
            }
        }
        found
    }
}
