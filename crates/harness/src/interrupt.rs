//! Ctrl-C, and what schedulers send (SIGTERM, SIGHUP): the first asks runs to stop at the next step, the second ends the
//! process.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens for them from here on.
pub fn listen() {
    /// What shells report for a process ended by SIGINT.
    const ENDED_BY_INTERRUPT: i32 = 130;
    let handler = || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(ENDED_BY_INTERRUPT);
        }
    };
    // A second registration (tests in one process) changes nothing.
    let _ = ctrlc::set_handler(handler);
}

/// Whether to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// The same for what watches a loop.
pub fn flow() -> ControlFlow<()> {
    if asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
