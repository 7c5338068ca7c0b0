//! What counts as there, and that nobody waits for a disk but who looks at it.

use std::fs::File;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;

fn watched(path: &Path) -> Watched {
    Watched {
        service: "test".to_owned(),
        path: path.to_owned(),
        flag: Arc::default(),
        is_said: AtomicBool::new(false),
    }
}

#[test]
fn whatever_is_at_the_path_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    File::create(at("file")).expect("created");
    std::fs::create_dir(at("folder")).expect("made");
    symlink("nowhere", at("dangling")).expect("linked");
    mkfifoat(CWD, at("fifo"), Mode::RUSR).expect("a FIFO");
    for name in ["file", "folder", "dangling", "fifo"] {
        assert!(is_there(&at(name)).expect("told"), "{name}");
    }
    for name in ["missing", "missing/below", "file/below"] {
        assert!(!is_there(&at(name)).expect("told"), "{name}");
    }
    assert!(is_there(&at(&"x".repeat(256))).is_err(), "too long a name");
}

#[test]
fn what_cannot_be_told_stays_as_it_was_and_is_said_once() {
    let file = watched(Path::new("/x"));
    let cannot_tell: Look = |_| Err(ErrorKind::PermissionDenied.into());
    let (is_there, is_gone): (Look, Look) = (|_| Ok(true), |_| Ok(false));
    for look in [is_there, is_gone] {
        file.look(look);
        let before = file.flag.is_active();
        assert!(!file.is_said.load(Relaxed), "it was told");
        file.look(cannot_tell);
        assert!(file.is_said.load(Relaxed));
        assert_eq!(file.flag.is_active(), before);
    }
}

/// Opens FIFOs, which waits for a writer; other files are there.
fn open(path: &Path) -> io::Result<bool> {
    File::open(path).map(|_| true)
}

#[test]
fn a_disk_that_hangs_holds_up_its_own_folder_only() {
    let [hung, healthy] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let fifo = hung.path().join("fifo");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    let there = healthy.path().join("there");
    File::create(&there).expect("created");
    let lookout = Lookout {
        look: open,
        patience: Duration::from_millis(1),
        lookers: Arc::default(),
    };
    let (hanging, told) = (watched(&fifo), watched(&there));
    let flags = [&hanging, &told].map(|file| Arc::clone(&file.flag));
    lookout.add([hanging]).expect("started");
    // Whoever adds a file returns as soon as that one has been looked at.
    let patient = Lookout {
        patience: Duration::from_secs(60),
        ..lookout.clone()
    };
    patient.add([told]).expect("started");
    assert_eq!(flags.map(|flag| flag.is_active()), [false, true]);
    // Lets the thread go.
    File::options().write(true).open(&fifo).expect("opened");
}

#[test]
fn a_file_is_looked_at_once_for_each_flag() {
    let folder = tempfile::tempdir().expect("a folder");
    let lookout = Lookout::default();
    let file = watched(&folder.path().join("x"));
    let again = Watched {
        flag: Arc::clone(&file.flag),
        ..watched(&file.path)
    };
    let other = watched(&file.path);
    for file in [file, again, other] {
        lookout.add([file]).expect("started");
    }
    let lookers = lookout.lookers();
    let counts: Vec<_> = lookers.values().map(|one| one.task().files.len()).collect();
    assert_eq!(counts, [2], "one folder, two flags");
}
