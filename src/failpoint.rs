//! Places where the real program panics because a test wants it to.
//!
//! Only with the feature `failpoints`, and only if the environment's `REPLYD_FAILPOINTS` names a folder: then a
//! thread panics at a place as long as that folder has a file `THREAD.PLACE`. Without the feature there is nothing
//! here. Not the crate `fail`: it would bring a second version of `rand`, and its points count instead of waiting
//! until somebody says go.

/// Panics here, if a test wants that of this thread.
///
/// # Panics
/// * on purpose
#[cfg(feature = "failpoints")]
pub fn reach(place: &str) {
    use std::path::PathBuf;
    use std::sync::LazyLock;

    static FOLDER: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("REPLYD_FAILPOINTS").map(PathBuf::from));

    let thread = std::thread::current();
    if let (Some(folder), Some(thread)) = (&*FOLDER, thread.name()) {
        let is_wanted = folder.join(format!("{thread}.{place}")).exists();
        assert!(!is_wanted, "on purpose, at failpoint {thread}.{place}");
    }
}

/// Nothing: the feature is off.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_place: &str) {}
