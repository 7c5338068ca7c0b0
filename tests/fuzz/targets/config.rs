//! Any text as a `server.toml`: every fault has its place in the text and can be shown; what is
//! taken can be written out, and is the same when it is read again.

use replyd::config::Config;
use replyd::config::fault::{Fault, Faults, Severity};
use replyd::config::load::{self, Loaded};
use replyd::config::written::is_hidden;
use replyd::config::{diff, show};
use replyd::server;

const NAME: &str = "server.toml";

pub(super) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match load::parse(text, NAME) {
        Err(faults) => assert_told(&faults, text),
        Ok(loaded) => {
            if let Err(faults) = server::check(&loaded) {
                assert_told(&faults, text);
            }
            let warnings = server::warnings_on(&loaded, None);
            if let Err(warnings) = Faults::none(warnings) {
                assert_told(&warnings, text);
            }
            assert_can_be_shown(&loaded);
        }
    }
}

fn assert_told(faults: &Faults, text: &str) {
    assert!(!faults.as_slice().is_empty(), "no fault, and not taken");
    for fault in faults.as_slice() {
        assert_in_its_place(fault, text);
    }
    let page = faults.render(false);
    assert!(!page.contains(|c| is_hidden(c) && c != '\n'), "{page:?}");
    assert!(page.ends_with('\n'), "{page:?}");
    // Its colours are escapes of the terminal, so only a panic would be wrong.
    let _colored = faults.render(true);
}

fn assert_in_its_place(fault: &Fault, text: &str) {
    let line = fault.to_string();
    assert!(!line.contains(is_hidden), "{line:?}");
    assert!(!fault.message.is_empty());
    for spot in fault
        .spot
        .iter()
        .chain(fault.other.as_ref().map(|other| &other.0))
    {
        let quoted = text.get(spot.span.clone());
        assert!(
            quoted.is_some(),
            "{:?} is not in the text: {line}",
            spot.span
        );
        let position = spot.position();
        let in_text = text.split('\n').nth(position.line - 1);
        let columns = in_text.expect("a line of the text").chars().count() + 1;
        assert!(position.column <= columns, "{position:?}: {line}");
        assert!(position.end_column <= columns, "{position:?}: {line}");
        assert!(
            position.column <= position.end_column,
            "{position:?}: {line}"
        );
    }
    // That there is no service is said of the file as a whole.
    let has_place = fault.spot.is_some() || fault.severity == Severity::Warning;
    assert!(has_place, "no place: {line}");
}

fn assert_can_be_shown(loaded: &Loaded) {
    let page = show::page(loaded);
    assert!(!page.contains(|c| is_hidden(c) && c != '\n'), "{page:?}");
    let again = load::parse(&page, "shown");
    let again = again.unwrap_or_else(|faults| panic!("{}\n{page}", faults.render(false)));
    assert_same(&loaded.config, &again.config, &page);
    let twice = load::parse(&show::page(&again), "shown").expect("what was shown before");
    assert_same(&again.config, &twice.config, &page);
}

fn assert_same(one: &Config, other: &Config, page: &str) {
    assert!(
        one == other,
        "{one:?}\nis shown as\n{page}\nwhich is\n{other:?}"
    );
    assert_eq!(diff::diff(one, other), [], "the same, and different");
}
