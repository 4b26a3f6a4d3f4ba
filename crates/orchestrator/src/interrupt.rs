//! Ctrl-C, and what else asks the program to stop.

use std::io;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use crate::error::exit_code;

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Gives signals to a thread that waits for them. To be called before there is any other thread.
///
/// They are blocked in all threads and have no handler: Clp puts its own in place of any while it solves, so that Ctrl-C would
/// be lost, and would end its linear programme instead, wherever that is.
pub fn listen() {
    // Not a hang-up: nohup has that ignored.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    if let Err(error) = signals.thread_block() {
        eprintln!("warning: Ctrl-C will not stop cleanly: {error}");
        return;
    }
    thread::spawn(move || {
        while signals.wait().is_ok() {
            // Somebody else holds the flag only where it is looked at.
            if Arc::strong_count(&ASKED) == 1 || ASKED.swap(true, Ordering::Relaxed) {
                exit(exit_code::INTERRUPTED.into());
            }
            eprintln!("stopping at the next checkpoint; press Ctrl-C again to stop at once");
        }
    });
}

/// Set by Ctrl-C. While nobody holds it, and at the second Ctrl-C, the program ends at once.
pub fn flag() -> Arc<AtomicBool> {
    ASKED.clone()
}

/// Asks to stop when standard input ends, be it because whoever held it was killed.
pub fn follow_stdin() {
    let asked = flag();
    thread::spawn(move || {
        io::copy(&mut io::stdin(), &mut io::sink()).ok();
        asked.store(true, Ordering::Relaxed);
    });
}
